from collections.abc import Sequence

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from replicas import MemoryDoor, now_ms, record, records
from test_wire import Pipe

from espeer import records as codec
from espeer.errors import BadSignature, EspeerError, NetworkError, ProtocolError, RecordError, StoreFull
from espeer.p2p import exchange as exchange_module
from espeer.p2p.door import Counters
from espeer.p2p.exchange import Exchange, Hello
from espeer.p2p.wire import Frames, pack, unpack
from espeer.records import MAX_CLOCK_SKEW_MS, SignedRecord

POOL = records(150) + records(5, kind="networking")
BIOLOGY = Hello(("biology",))
BOTH = Hello(("biology", "networking"), ("/ip4/192.0.2.1/tcp/1",))


class Side:
    def __init__(self, frames: Frames, door: MemoryDoor, hello: Hello = BIOLOGY) -> None:
        self.greetings: list[Hello] = []
        self.counters = Counters()
        self.door = door
        self.exchange = Exchange(frames, door, hello, now_ms, self.greetings.append, self.counters)


def pair() -> tuple[Frames, Frames]:
    ours, theirs = trio.testing.memory_stream_pair()
    return Frames(Pipe(ours)), Frames(Pipe(theirs))


async def meet(ours: Sequence[SignedRecord], theirs: Sequence[SignedRecord], hello: Hello = BIOLOGY) -> tuple[Side, Side]:
    a, b = pair()
    left, right = Side(a, MemoryDoor(ours), hello), Side(b, MemoryDoor(theirs), BOTH)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(left.exchange.initiate)
            nursery.start_soon(right.exchange.respond)
    return left, right


@settings(max_examples=20, deadline=None)
@given(st.sets(st.sampled_from(range(len(POOL)))), st.sets(st.sampled_from(range(len(POOL)))))
def test_both_hold_the_union_of_the_types_both_hold(ours: set[int], theirs: set[int]) -> None:
    left, right = trio.run(meet, [POOL[n] for n in ours], [POOL[n] for n in theirs], BOTH)
    union = {POOL[n].id for n in ours | theirs}
    assert set(left.door.held) == union
    assert set(right.door.held) == union
    assert left.counters.synced_in == right.counters.synced_out == len(theirs - ours)
    assert right.counters.synced_in == left.counters.synced_out == len(ours - theirs)


async def test_a_type_that_one_does_not_hold_stays() -> None:
    left, right = await meet([], POOL)
    assert {signed.record.type for signed in left.door.held.values()} == {"biology"}
    assert left.greetings == [BOTH]
    assert right.greetings == [BIOLOGY]


async def test_a_second_exchange_moves_nothing() -> None:
    left, _ = await meet(POOL[:10], POOL[5:15])
    held = list(left.door.held.values())
    again, other = await meet(held, held)
    assert again.counters == other.counters == Counters()


async def test_what_arrived_before_a_break_is_kept_and_the_next_goes_on() -> None:
    left, right = pair()
    side = Side(left, MemoryDoor())

    async def half() -> None:
        await right.receive()
        await right.send(pack(["hello", ["biology"], [], []]))
        await right.receive()
        await right.send(pack(["ids", b"".join(signed.id for signed in POOL[:100])]))
        await right.send(pack(["ids", b""]))
        await right.send(pack(["records", [codec.encode(signed) for signed in POOL[:60]]]))
        await right._stream.stream.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(half)
        with pytest.raises(NetworkError):
            await side.exchange.initiate()
    assert set(side.door.held) == {signed.id for signed in POOL[:60]}
    again, _ = await meet(list(side.door.held.values()), POOL[:100])
    assert again.counters.synced_in == 40


async def hear(*messages: object, held: Sequence[SignedRecord] = ()) -> MemoryDoor:
    """What a responder makes of an initiator that greets and then says ``messages``."""
    ours, theirs = pair()
    door = MemoryDoor(held)
    try:
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                while True:
                    await ours.receive()

            async def speak() -> None:
                await ours.send(pack(["hello", ["biology"], [], []]))
                for message in messages:
                    await ours.send(message if isinstance(message, bytes) else pack(message))
                await ours._stream.stream.send_eof()

            nursery.start_soon(listen)
            nursery.start_soon(speak)
            try:
                await Side(theirs, door).exchange.respond()
            finally:
                nursery.cancel_scope.cancel()
    except* EspeerError as group:
        raise group.exceptions[0] from None
    return door


def claim(*signed: SignedRecord) -> list[object]:
    return [["ids", b"".join(one.id for one in signed)], ["ids", b""]] if signed else [["ids", b""]]


def give(*signed: SignedRecord) -> list[object]:
    return ["records", [codec.encode(one) for one in signed]]


ONE, TWO = POOL[:2]
OTHER = POOL[-1]


async def test_the_script_of_these_tests_is_a_good_exchange() -> None:
    door = await hear(*claim(ONE, TWO), give(ONE), give(TWO), ["end"])
    assert set(door.held) == {ONE.id, TWO.id}


@pytest.mark.parametrize(
    "messages",
    [
        [*claim(ONE), give(TWO)],
        [*claim(ONE), give(ONE), give(ONE)],
        [*claim(OTHER), give(OTHER)],
        [*claim(), give(ONE)],
        [["ids", b"x" * 31]],
        [["ids", "x" * 32]],
        [["ids"]],
        [["end"]],
        [["hello", [], [], []]],
        [*claim(ONE), ["records", []]],
        [*claim(ONE), ["records", ["text"]]],
        [*claim(ONE), ["done"]],
        [b"\xc1"],
        [b""],
        [{"ids": b""}],
        [[["ids"], b""]],
    ],
)
async def test_a_peer_that_breaks_the_protocol_is_named(messages: list[object]) -> None:
    with pytest.raises(ProtocolError):
        await hear(*messages)


async def test_a_record_that_is_known_already_may_not_be_sent() -> None:
    with pytest.raises(ProtocolError):
        await hear(*claim(ONE, TWO), give(ONE), held=[ONE])


async def test_a_forged_record_is_refused_and_not_stored() -> None:
    body, _ = unpack(codec.encode(ONE))
    forged = pack([body, b"s" * 64])
    with pytest.raises(BadSignature):
        await hear(*claim(ONE), ["records", [forged]])


async def test_a_record_ahead_of_our_clock_waits_and_the_others_come() -> None:
    early = record(3, created=now_ms() + 2 * MAX_CLOCK_SKEW_MS)
    door = await hear(*claim(ONE, early), give(early, ONE), ["end"])
    assert set(door.held) == {ONE.id}


@pytest.mark.parametrize(
    "hello",
    [
        ["hello", ["NOT A TYPE"], [], []],
        ["hello", [b"biology"], [], []],
        ["hello", "biology", [], []],
        ["hello", [], []],
        ["hello", [], ["x"] * 33, []],
        ["hello", [], [], ["x" * 257]],
        ["hello", ["a"] * 257, [], []],
    ],
)
async def test_a_greeting_that_is_none_is_named(hello: object) -> None:
    ours, theirs = pair()
    await ours.send(pack(hello))
    with pytest.raises(ProtocolError):
        await Side(theirs, MemoryDoor()).exchange.respond()


async def test_a_peer_may_not_claim_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_module, "MAX_IDS", 3)
    with pytest.raises(ProtocolError, match="more than 3"):
        await hear(["ids", bytes(range(128))])


async def test_a_door_that_fails_ends_the_exchange() -> None:
    ours, theirs = pair()
    full = MemoryDoor()
    full.failure = StoreFull("no room left")
    with pytest.RaisesGroup(StoreFull):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Side(ours, MemoryDoor([ONE])).exchange.initiate)
            nursery.start_soon(Side(theirs, full).exchange.respond)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=64), max_size=4))
def test_garbage_never_ends_in_another_error(frames: list[bytes]) -> None:
    async def go() -> None:
        with pytest.raises((ProtocolError, NetworkError, RecordError)):
            await hear(*frames)

    trio.run(go)
