"""Two ends of frames in memory: what the tests of protocols share."""

import trio
import trio.testing

from espeer.p2p.frames import Frames


class Pipe:
    """A stream of trio's as frames want it."""

    def __init__(self, stream: trio.StapledStream) -> None:
        self.stream = stream

    async def read(self, n: int, /) -> bytes:
        return await self.stream.receive_some(n)

    async def write(self, data: bytes, /) -> None:
        await self.stream.send_all(data)


def pair() -> tuple[Frames, Frames]:
    ours, theirs = trio.testing.memory_stream_pair()
    return Frames(Pipe(ours)), Frames(Pipe(theirs))
