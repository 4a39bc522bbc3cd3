"""Proxies between nodes; this process plays both the node that calls and the one that is called."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from espeer.sim.proxies import HOST, Proxies

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="proxies ask Linux's /proc who calls")


async def echo(stream: trio.SocketStream) -> None:
    async for data in stream:
        await stream.send_all(data)


@asynccontextmanager
async def proxy(caller: str = "n1", *, delay: float = 0.0) -> AsyncIterator[tuple[Proxies, int]]:
    """Open a proxy in front of an echo that is called n2."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host=HOST)
        proxies = Proxies(lambda: {os.getpid(): caller}, lambda _: listener.socket.getsockname()[1], delay=delay)
        nursery.start_soon(trio.serve_listeners, echo, [listener])
        port = await nursery.start(proxies.open, "n2")
        with trio.fail_after(10):
            yield proxies, port
        nursery.cancel_scope.cancel()


async def says(stream: trio.SocketStream) -> bool:
    """Whether an echo comes back; False where the connection is reset or ended."""
    try:
        await stream.send_all(b"hello")
        return await stream.receive_some(5) == b"hello"
    except trio.BrokenResourceError:
        return False


async def test_an_open_proxy_lets_through_both_ways() -> None:
    async with proxy() as (_, port), await trio.open_tcp_stream(HOST, port) as stream:
        assert await says(stream)


async def test_a_cut_ends_connections_and_lets_no_new_one_through_until_it_heals() -> None:
    async with proxy() as (proxies, port):
        async with await trio.open_tcp_stream(HOST, port) as stream:
            assert await says(stream)
            proxies.cut({"n1"}, {"n2"})
            assert not await says(stream)
        async with await trio.open_tcp_stream(HOST, port) as stream:
            assert not await says(stream)
        proxies.heal()
        async with await trio.open_tcp_stream(HOST, port) as stream:
            assert await says(stream)


async def test_a_cut_leaves_those_of_one_side_together() -> None:
    async with proxy() as (proxies, port), await trio.open_tcp_stream(HOST, port) as stream:
        assert await says(stream)
        proxies.cut({"n1", "n2"}, {"n3"})
        assert await says(stream)
        async with await trio.open_tcp_stream(HOST, port) as other:
            assert await says(other)


async def test_while_there_is_a_cut_strangers_are_not_let_in() -> None:
    async with proxy(caller="n7") as (proxies, port):
        proxies.cut({"n1"}, {"n2"})
        async with await trio.open_tcp_stream(HOST, port) as stream:
            assert not await says(stream)


@pytest.mark.parametrize("inner", [None, 1])  # it does not listen yet; nobody listens there any more
async def test_a_proxy_to_a_node_that_is_not_there_resets(inner: int | None) -> None:
    proxies = Proxies(dict, lambda _: inner)
    async with trio.open_nursery() as nursery:
        port = await nursery.start(proxies.open, "n2")
        async with await trio.open_tcp_stream(HOST, port) as stream:
            assert not await says(stream)
        nursery.cancel_scope.cancel()


async def test_a_delay_holds_each_byte_back_and_not_the_next_ones_longer() -> None:
    async with proxy(delay=0.2) as (proxies, port), await trio.open_tcp_stream(HOST, port) as stream:
        began = trio.current_time()
        for _ in range(20):
            await stream.send_all(b"hello")
            await trio.sleep(0.005)
        heard = b""
        while len(heard) < 100:
            heard += await stream.receive_some()
            assert trio.current_time() - began >= 0.4
        assert heard == b"hello" * 20
        assert trio.current_time() - began < 20 * 0.2, "they were under way at the same time"
        assert proxies.carried == {"n2": 200}
