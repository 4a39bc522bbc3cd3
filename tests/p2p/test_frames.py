import pytest
import trio
import trio.testing
from conversation import Pipe

from espeer.errors import NetworkError, ProtocolError
from espeer.p2p.frames import Frames


async def test_frames_arrive_whole_and_in_order() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    sender, receiver = Frames(Pipe(ours)), Frames(Pipe(theirs))
    sent = [b"", b"a", b"b" * 100_000, bytes(range(256))]
    for payload in sent:
        await sender.send(payload)
    assert [await receiver.receive() for _ in sent] == sent


async def test_frames_in_pieces_arrive_whole() -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()
    receiver = Frames(Pipe(theirs))
    got = []

    async def receive() -> None:
        got.append(await receiver.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        for byte in b"\x00\x00\x00\x03abc":
            await ours.send_all(bytes([byte]))
    assert got == [b"abc"]


async def test_a_frame_over_the_limit_is_refused_before_it_is_read() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await ours.send_all(b"\x00\x00\x00\x0b")
    with pytest.raises(ProtocolError, match="11 bytes"):
        await Frames(Pipe(theirs), limit=10).receive()
    with pytest.raises(ValueError, match="11 bytes"):
        await Frames(Pipe(theirs), limit=10).send(b"x" * 11)


@pytest.mark.parametrize("part", [b"", b"\x00\x00", b"\x00\x00\x00\x05abc"])
async def test_a_stream_that_ends_early_is_named(part: bytes) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await ours.send_all(part)
    await ours.send_eof()
    with pytest.raises(NetworkError, match="ended"):
        await Frames(Pipe(theirs)).receive()


async def test_a_peer_that_does_nothing_is_named(autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()
    with pytest.raises(NetworkError, match="sent nothing for 15 s"):
        await Frames(Pipe(theirs)).receive()
    with pytest.raises(NetworkError, match="took nothing for 15 s"):
        await Frames(Pipe(ours)).send(b"x")
    assert autojump_clock.current_time() == pytest.approx(30)
