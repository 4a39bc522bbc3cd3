"""The MCP server (Model Context Protocol): a node's verbs as tools for other language models, over any transport.

The SDK's low-level server: its other one puts a handler on the root logger, and its own words before our errors.
"""

import importlib.metadata
import json
from typing import Any

from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolRequestParams, CallToolResult, ListToolsResult, TextContent
from pydantic import ValidationError

from espeer.api.complaints import FAILED, complaint
from espeer.api.mcp_calls import Call
from espeer.api.mcp_tools import INSTRUCTIONS, TOOLS
from espeer.errors import EspeerError
from espeer.log import get_logger

log = get_logger(__name__)


def make_server(call: Call) -> Server[Any]:
    """Make a server whose tools reach the node by ``call``."""

    async def list_tools(*_: object) -> ListToolsResult:
        return ListToolsResult(tools=[kind.seen for kind in TOOLS.values()])

    async def call_tool(_: object, asked: CallToolRequestParams) -> CallToolResult:
        return await _do(call, asked)

    return Server(
        "espeer",
        title="espeer",
        version=importlib.metadata.version("espeer"),
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


async def serve_stdio(call: Call) -> None:
    """Serve on standard input and output until the input ends. What else is printed meanwhile goes to standard error."""
    server = make_server(call)
    async with stdio_server() as (received, sent):
        await server.run(received, sent, server.create_initialization_options())


async def _do(call: Call, asked: CallToolRequestParams) -> CallToolResult:
    """Call a tool. What fails is told to the model that called it, which can do something about it."""
    kind = TOOLS.get(asked.name)
    if kind is None:
        raise MCPError(INVALID_PARAMS, f"there is no tool {asked.name[:64]!r}; there are {', '.join(TOOLS)}")
    try:
        arguments = kind.arguments.model_validate(asked.arguments or {})
        result = kind.result(await call(arguments.verb, arguments.params()))
    except ValidationError as error:
        return _failed(f"{asked.name}: {complaint(error)}")
    except EspeerError as error:
        return _failed(str(error))
    except Exception:
        log.exception("a tool failed", tool=asked.name)
        return _failed(FAILED)
    told = result.model_dump(mode="json")
    text = json.dumps(told, ensure_ascii=False)  # for clients that do not know of structured results
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=told)


def _failed(message: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=message)], is_error=True)
