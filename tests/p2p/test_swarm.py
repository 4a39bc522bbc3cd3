from contextlib import AsyncExitStack

import pytest
import trio
from replicas import Peer, records


async def test_a_published_record_goes_down_a_line():
    async with AsyncExitStack() as stack:
        a = await stack.enter_async_context(Peer(1).running())
        b = await stack.enter_async_context(Peer(2, a.address).running())
        c = await stack.enter_async_context(Peer(3, b.address).running())
        await a.until_meshed(b)
        await b.until_meshed(c)
        new = records(3)
        a.swarm.publish(new)
        await c.door.until_holds(new)
        assert c.door.via[new[0].id] == "gossip"


async def test_a_late_joiner_gets_everything_by_sync():
    held = records(300) + records(5, kind="networking")
    async with Peer(1, held=held).running() as a, Peer(2, a.address).running() as b:
        await b.door.until_holds(held)
        assert b.swarm.counters.synced_in == len(held)
        assert a.swarm.counters.synced_out == len(held)
