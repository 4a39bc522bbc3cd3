import contextlib
import struct

import pytest
import trio
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import MuxedStreamError
from libp2p.stream_muxer.yamux.yamux import FLAG_SYN, TYPE_DATA, TYPE_WINDOW_UPDATE, YAMUX_HEADER_FORMAT
from replicas import PATIENCE, Peer, identity
from stranger import MESHSUB, stranger

from espeer.errors import EspeerError, SlowReader
from espeer.p2p.muxer import FRAME_BYTES, FRAMES, FRAMES_BURST, MAX_INBOUND, STALL_SECONDS, SafeYamux


class Connection:
    """A connection that can be told to take nothing, and gives what it is told to."""

    is_initiator = True

    def __init__(self, data: bytes = b"", *, stuck: bool = False) -> None:
        self.data = data
        self.stuck = stuck
        self.reads = 0
        self.closed = trio.Event()

    async def write(self, _data: bytes) -> None:
        if self.stuck:
            await trio.sleep_forever()

    async def read(self, _n: int | None = None) -> bytes:
        self.reads += 1
        await trio.lowlevel.checkpoint()
        if not self.data:
            await self.closed.wait()
        return self.data

    async def close(self) -> None:
        self.closed.set()


def muxer(connection: Connection) -> tuple[SafeYamux, list[EspeerError]]:
    made = SafeYamux(connection, ID.from_string(identity(5).peer_id))
    blamed: list[EspeerError] = []
    made.blame = blamed.append
    return made, blamed


def frame(kind: int, flags: int, stream_id: int, length: int) -> bytes:
    return struct.pack(YAMUX_HEADER_FORMAT, 0, kind, flags, stream_id, length)


async def test_a_peer_that_takes_nothing_is_hung_up_on(autojump_clock: trio.testing.MockClock) -> None:
    connection = Connection(stuck=True)
    yamux, blamed = muxer(connection)
    started = trio.current_time()
    with pytest.raises(MuxedStreamError):
        await yamux._write_frame(b"x" * 12)
    assert trio.current_time() - started == STALL_SECONDS
    assert [type(error) for error in blamed] == [SlowReader]
    assert connection.closed.is_set()


async def test_a_peer_that_answers_no_ping_is_hung_up_on_without_blame(autojump_clock: trio.testing.MockClock) -> None:
    connection = Connection()
    yamux, blamed = muxer(connection)
    await yamux._measure_rtt_loop()
    assert trio.current_time() >= STALL_SECONDS
    assert connection.closed.is_set()
    assert not blamed


async def test_a_peer_that_answers_stays(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    connection = Connection()
    yamux, _ = muxer(connection)
    nursery.start_soon(yamux._measure_rtt_loop)
    for _ in range(10):
        await trio.sleep(STALL_SECONDS / 2)
        yamux._ping_event.set()
    assert not connection.closed.is_set()
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("size", [12, FRAME_BYTES])
async def test_frames_are_read_at_a_pace(autojump_clock: trio.testing.MockClock, size: int) -> None:
    connection = Connection(bytes(size))
    muxer(connection)
    seconds = 10
    with trio.move_on_after(seconds):
        while True:
            await connection.read(size)
    expected = (FRAMES_BURST + FRAMES * seconds) / (1 + size / FRAME_BYTES)
    assert connection.reads == pytest.approx(expected, rel=0.01)


async def test_streams_beyond_the_limit_are_reset_and_their_peer_thrown_out(nursery: trio.Nursery) -> None:
    victim = await Peer(1).start(nursery)
    async with stranger(victim) as attacker:
        await attacker.open(MESHSUB)
        (connection,) = attacker.host.get_network().get_connections()
        yamux = connection.muxed_conn
        for number in range(MAX_INBOUND):
            await yamux.secured_conn.write(frame(TYPE_WINDOW_UPDATE, FLAG_SYN, 1001 + 2 * number, 0))
        with contextlib.suppress(Exception):  # to be thrown out shows in many ways
            for number in range(1000):
                await yamux.secured_conn.write(frame(TYPE_WINDOW_UPDATE, FLAG_SYN, 3001 + 2 * number, 0))
        with trio.fail_after(PATIENCE):
            await yamux.event_closed.wait()
    assert victim.swarm.counters.bans == 1


async def test_bytes_beyond_the_windows_end_the_connection(nursery: trio.Nursery) -> None:
    victim = await Peer(1).start(nursery)
    async with stranger(victim) as attacker:
        await attacker.open(MESHSUB)
        (connection,) = attacker.host.get_network().get_connections()
        yamux = connection.muxed_conn
        await yamux.secured_conn.write(frame(TYPE_WINDOW_UPDATE, FLAG_SYN, 1001, 0))
        chunk = frame(TYPE_DATA, 0, 1001, 60_000) + bytes(60_000)
        with trio.fail_after(2 * PATIENCE):
            with contextlib.suppress(Exception):  # as above
                for _ in range(1000):
                    await yamux.secured_conn.write(chunk)
            await yamux.event_closed.wait()
    assert victim.swarm.counters.offences == 1


async def test_many_streams_one_after_the_other_are_no_offence(nursery: trio.Nursery) -> None:
    victim = await Peer(1).start(nursery)
    async with stranger(victim) as guest:
        for _ in range(60):
            stream = await guest.open("/ipfs/ping/1.0.0")
            await stream.close()
        assert victim.connected() == {str(guest.host.get_id())}
    assert victim.swarm.counters.offences == 0
