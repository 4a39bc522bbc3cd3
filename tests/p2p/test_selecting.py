"""A protocol is agreed on in one round trip."""

import pytest
import trio
from libp2p.abc import IMultiselectCommunicator
from libp2p.custom_types import TProtocol
from libp2p.protocol_muxer.exceptions import MultiselectClientError
from libp2p.protocol_muxer.multiselect import Multiselect
from trio.testing import MockClock

from espeer.p2p.selecting import OneTrip

SPOKEN = TProtocol("/spoken/1")


class Wire(IMultiselectCommunicator):
    """One end of a pair that passes texts; ``log`` has what was done at it."""

    def __init__(self, send: trio.MemorySendChannel[str], receive: trio.MemoryReceiveChannel[str]) -> None:
        self.log: list[str] = []
        self._send = send
        self._receive = receive

    async def write(self, msg_str: str) -> None:
        self.log.append("write")
        await self._send.send(msg_str)

    async def read(self) -> str:
        self.log.append("read")
        return await self._receive.receive()


def wires() -> tuple[Wire, Wire]:
    there, back = trio.open_memory_channel[str](8), trio.open_memory_channel[str](8)
    return Wire(there[0], back[1]), Wire(back[0], there[1])


def test_nothing_is_waited_for_before_all_is_offered() -> None:
    async def main() -> None:
        here, there = wires()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Multiselect({SPOKEN: None}).negotiate, there)
            assert await OneTrip().select_one_of([SPOKEN], here) == SPOKEN
        assert here.log == ["write", "write", "read", "read"]

    trio.run(main)


def test_what_is_not_spoken_and_what_is_no_answer_are_told_apart() -> None:
    async def main() -> None:
        here, there = wires()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Multiselect({SPOKEN: None}).negotiate, there)
            with pytest.raises(MultiselectClientError, match="protocols not supported"):
                await OneTrip().select_one_of([TProtocol("/other/1")], here)
            nursery.cancel_scope.cancel()
        here, there = wires()
        for text in ("/multistream/2.0.0", SPOKEN):
            await there.write(text)
        with pytest.raises(MultiselectClientError, match="unexpected"):
            await OneTrip().select_one_of([SPOKEN], here)

    trio.run(main)


def test_of_several_the_first_that_is_spoken_is_taken() -> None:
    async def main() -> None:
        here, there = wires()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Multiselect({SPOKEN: None}).negotiate, there)
            assert await OneTrip().select_one_of([TProtocol("/other/1"), SPOKEN], here) == SPOKEN

    trio.run(main)


def test_who_says_nothing_is_not_waited_for_for_ever() -> None:
    async def main() -> None:
        here, _ = wires()
        with pytest.raises(MultiselectClientError, match="no answer within 3 s"):
            await OneTrip().select_one_of([SPOKEN], here, 3)

    trio.run(main, clock=MockClock(autojump_threshold=0))
