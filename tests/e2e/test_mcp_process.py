"""`espeer mcp` as an MCP client starts it, beside a node in a process of its own; and the same node's ``/mcp``."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp_types import CallToolResult, TextContent
from processes import CLI_SECONDS, ESPEER, NodeProcess, Nodes

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),  # the SDK's client leaves its streams to be collected
]

OPTIONS = ("--no-http", "--listen", "/ip4/127.0.0.1/tcp/0", "--episode-size", "1", "--type", "pumps")


@asynccontextmanager
async def connected(data: Path, mode: str = "legacy") -> AsyncIterator[Client]:
    """Have the SDK's client start `espeer mcp`."""
    command = StdioServerParameters(command=sys.executable, args=["-m", "espeer", "mcp", "--data", str(data)])
    with trio.fail_after(CLI_SECONDS):
        async with Client(command, mode=mode) as client:
            yield client


def error_of(result: CallToolResult) -> str:
    assert result.is_error
    assert isinstance(result.content[0], TextContent)
    return result.content[0].text


async def started(nodes: Nodes, data: Path, *options: str) -> NodeProcess:
    return await trio.to_thread.run_sync(lambda: nodes.start(data, *options))


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_tools_work_as_soon_as_a_node_is_there_and_again_after_it_was_killed(
    nodes: Nodes, tmp_path: Path, mode: str
) -> None:
    data = tmp_path / "d"
    async with connected(data, mode) as client:
        assert len((await client.list_tools()).tools) == 5
        assert error_of(await client.call_tool("status")).startswith(f"no node runs on {data}; start one with `espeer node")
        node = await started(nodes, data, *OPTIONS)
        cure = "Setting the idler gap to 4 mm cured it."
        learnt = await client.call_tool("learn", {"text": "Kestrel-3 stops with J18.", "feedback": cure})
        assert not learnt.is_error
        await trio.to_thread.run_sync(lambda: node.ask("flush"))
        found = (await client.call_tool("recall", {"query": "Kestrel-3 J18"})).structured_content
        assert found is not None
        assert cure in found["experiences"][0]["untrusted_text"]
        results: list[CallToolResult] = []

        async def ask(number: int) -> None:
            results.append(await client.call_tool("ask", {"question": f"Which idler gap cures number {number}?"}))

        async with trio.open_nursery() as nursery:
            for number in range(40):
                nursery.start_soon(ask, number)
        assert [result.is_error for result in results] == [False] * 40
        assert error_of(await client.call_tool("recall", {"query": "J18", "limit": 99})).startswith("recall: limit: ")
        node.kill()
        assert "no node runs on" in error_of(await client.call_tool("status"))
        await started(nodes, data, *OPTIONS)
        again = (await client.call_tool("recall", {"query": "Kestrel-3 J18"})).structured_content
        assert again == found


def test_standard_output_holds_messages_alone_and_the_end_of_input_ends_it(tmp_path: Path) -> None:
    messages: list[Any] = [
        {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "initialize",
            "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}},
        },
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "status", "arguments": {}}},
    ]
    lines = "this is no JSON\n" + "".join(json.dumps(message) + "\n" for message in messages)
    command = [*ESPEER, "mcp", "--data", str(tmp_path / "d")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(lines)
        process.stdin.flush()
        replies = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.stdin.close()
        assert process.wait(CLI_SECONDS) == 0
        assert process.stdout.read() == ""
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
    by_id = {reply.get("id"): reply for reply in replies}
    assert by_id[1]["result"]["serverInfo"]["name"] == "espeer"
    assert by_id[2]["result"]["isError"] is True
    assert not (tmp_path / "d").exists()  # it only looks


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_same_tools_are_there_over_http_and_a_client_does_not_hold_up_the_end(
    nodes: Nodes, tmp_path: Path, mode: str
) -> None:
    node = await started(nodes, tmp_path / "d", "--http", "127.0.0.1:0", *OPTIONS[1:])
    url = next(line for line in node.said().splitlines() if line.startswith("dashboard and APIs: ")).split()[-1]
    with trio.fail_after(CLI_SECONDS):
        async with Client(f"{url}mcp", mode=mode) as client:
            status = (await client.call_tool("status")).structured_content
            assert status is not None
            assert status["types"] == ["pumps"]
            await trio.to_thread.run_sync(node.stop)
