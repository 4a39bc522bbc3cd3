from collections.abc import Callable, Sequence
from dataclasses import replace

import msgpack
import pytest
import trio
import trio.testing
from conversation import pair
from hypothesis import given, settings
from hypothesis import strategies as st
from replicas import MemoryDoor, now_ms, record, records

from espeer import records as codec
from espeer.errors import BadSignature, BrokenPromise, NetworkError, ProtocolError, RecordError, StoreFull, UnknownVersion
from espeer.keys import KeySet, key_of
from espeer.p2p import pull as pull_module
from espeer.p2p import reconcile
from espeer.p2p.claims import Claims
from espeer.p2p.door import Counters
from espeer.p2p.frames import Frames
from espeer.p2p.gone import Gone
from espeer.p2p.pull import MAX_BARREN, Provider, Pull
from espeer.p2p.wire import pack, unpack
from espeer.records import MAX_CLOCK_SKEW_MS, SignedRecord

TYPES = ("biology", "networking")
POOL = [record(number, created=1_700_000_000_000 + number) for number in range(300)] + records(5, kind="networking")
ONE, TWO = POOL[:2]
OTHER = POOL[-1]


async def no_limit(_seconds: float) -> None:
    await trio.lowlevel.checkpoint()


class Meeting:
    """One node pulls from another."""

    def __init__(self, ours: Sequence[SignedRecord], theirs: Sequence[SignedRecord]) -> None:
        self.ours, self.theirs = MemoryDoor(ours), MemoryDoor(theirs)
        self.counters, self.their_counters = Counters(), Counters()
        self.gone, self.withheld = Gone(), Gone()
        self.claims = Claims()
        self.again: list[str] = []
        self.worked = 0.0

    async def pull(self, types: Sequence[str] = TYPES, their_types: Sequence[str] = TYPES) -> list[str]:
        """Return what the other side is told that we hold and it lacks."""
        left, right = pair()
        told: list[str] = []

        async def provide() -> None:
            told.extend(await Provider(right, self.theirs, their_types, self.their_counters, self.work).run())

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(provide)
                pull = Pull(left, self.ours, "peer", now_ms, self.counters, self.gone, self.withheld, self.claims)
                pull = replace(pull, again=self.again.append)
                await pull.run(types)
        assert left.sent == right.received
        assert left.received == right.sent
        self.bytes = left.sent + left.received
        return told

    async def work(self, seconds: float) -> None:
        self.worked += seconds
        await trio.lowlevel.checkpoint()


@settings(max_examples=20, deadline=None)
@given(st.sets(st.sampled_from(range(len(POOL)))), st.sets(st.sampled_from(range(len(POOL)))))
def test_a_pull_brings_all_that_is_missing_and_tells_what_the_other_lacks(ours: set[int], theirs: set[int]) -> None:
    meeting = Meeting([POOL[n] for n in ours], [POOL[n] for n in theirs])
    told = trio.run(meeting.pull)
    assert set(meeting.ours.held) == {POOL[n].id for n in ours | theirs}
    assert set(meeting.theirs.held) == {POOL[n].id for n in theirs}
    assert set(told) == {POOL[n].record.type for n in ours - theirs}
    assert meeting.counters.synced_in == meeting.their_counters.synced_out == len(theirs - ours)
    assert meeting.counters.duplicates == 0


async def test_a_type_that_one_does_not_hold_stays() -> None:
    meeting = Meeting([], POOL)
    assert await meeting.pull(["biology"]) == []
    assert {signed.record.type for signed in meeting.ours.held.values()} == {"biology"}
    assert await meeting.pull(TYPES, ["biology"]) == []
    assert not any(signed.record.type == "networking" for signed in meeting.ours.held.values())


async def test_equal_replicas_are_confirmed_in_one_round() -> None:
    meeting = Meeting(POOL, POOL)
    assert await meeting.pull(["biology"]) == []
    assert (meeting.counters.sync_checks, meeting.counters.sync_rounds) == (1, 1)
    assert meeting.counters.synced_in == 0
    assert meeting.bytes < 1000


async def test_the_newest_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull_module, "MAX_GET", 50)
    meeting = Meeting([], POOL[:300])
    await meeting.pull(["biology"])
    arrived = [signed.record.created for signed in meeting.ours.held.values()]
    groups = [set(arrived[start : start + 50]) for start in range(0, 300, 50)]
    assert groups == [{1_700_000_000_000 + n for n in range(top - 50, top)} for top in range(300, 0, -50)]


async def test_what_is_coming_from_another_peer_is_not_asked_for() -> None:
    meeting = Meeting([], POOL[:10])
    meeting.claims.take("another", [ONE.id], trio.current_time())
    await meeting.pull(["biology"])
    assert set(meeting.ours.held) == {signed.id for signed in POOL[1:10]}
    assert len(meeting.claims) == 1
    assert meeting.claims.release("another", [ONE.id], {ONE.id}) == {"peer"}, "it is told that it was passed over"


async def test_what_is_gone_there_is_not_found_missing_again() -> None:
    meeting = Meeting(POOL[5:10], POOL[:10])
    meeting.theirs.gone = {signed.id for signed in POOL[:3]}
    await meeting.pull(["biology"])
    assert set(meeting.ours.held) == {signed.id for signed in POOL[3:10]}
    before = meeting.counters.sync_rounds
    await meeting.pull(["biology"])
    assert meeting.counters.sync_rounds == before + 1
    meeting.theirs.gone.clear()  # another peer may have it
    meeting.gone = Gone()
    await meeting.pull(["biology"])
    assert set(meeting.ours.held) == {signed.id for signed in POOL[:10]}


async def test_what_we_cannot_give_is_not_found_to_differ_again() -> None:
    meeting = Meeting(POOL[:300], POOL[1:300:2])
    meeting.ours.gone = {signed.id for signed in POOL[:300:2]}
    assert await meeting.pull(["biology"]) == [], "nothing to tell: we cannot give it"
    assert meeting.bytes > 2000
    await meeting.pull(["biology"])
    assert meeting.bytes < 1000
    await meeting.theirs.add(POOL[:1], via="sync")  # from somebody else
    await meeting.pull(["biology"])
    await meeting.pull(["biology"])
    assert meeting.bytes < 1000
    assert meeting.counters.synced_in == 0
    meeting.ours.gone.clear()
    meeting.withheld = Gone()
    assert await meeting.pull(["biology"]) == ["biology"]


async def test_work_is_counted_before_it_is_done() -> None:
    meeting = Meeting([], POOL[:300])
    await meeting.pull(["biology"])
    assert meeting.worked > 300 * pull_module.WORK_PER_RECORD


async def test_a_record_ahead_of_our_clock_is_not_fetched_with_every_pull() -> None:
    early = [record(number, created=now_ms() + 2 * MAX_CLOCK_SKEW_MS) for number in range(40)]
    meeting = Meeting([], [ONE, *early])
    await meeting.pull(["biology"])
    assert meeting.their_counters.synced_out == 41
    await meeting.pull(["biology"])
    assert meeting.their_counters.synced_out == 41
    assert set(meeting.ours.held) == {ONE.id}


async def test_what_another_peer_has_is_asked_of_it_again_when_this_one_fails() -> None:
    meeting = Meeting([], POOL[:10])
    meeting.theirs.gone = {ONE.id}
    unknown = meeting.ours.unknown

    async def meanwhile(ids: Sequence[bytes]) -> list[bytes]:
        left = await unknown(ids)
        meeting.claims.take("peer", left, trio.current_time())
        meeting.claims.take("another", left, trio.current_time())  # comes second
        return left

    meeting.ours.unknown = meanwhile  # type: ignore[method-assign]
    await meeting.pull(["biology"])
    assert meeting.again == ["another"]
    assert set(meeting.ours.held) == {signed.id for signed in POOL[1:10]}


async def against(
    *replies: Callable[[list[object]], list[object]], held: Sequence[SignedRecord] = (), door: MemoryDoor | None = None
) -> MemoryDoor:
    """What a pull makes of a peer that answers with these, the last one again and again."""
    ours, theirs = pair()
    door = door or MemoryDoor(held)

    async def answer() -> None:
        rest = list(replies)
        while True:
            asked = unpack(await theirs.receive(), max_items=64)
            if asked[0] == "done":
                return
            for message in rest[0](asked):
                await theirs.send(message if isinstance(message, bytes) else pack(message))
            if len(rest) > 1:
                del rest[0]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        try:
            await Pull(ours, door, "peer", now_ms, Counters()).run(["biology"])
        finally:
            nursery.cancel_scope.cancel()
    return door


def claims(*signed: SignedRecord) -> Callable[[list[object]], list[object]]:
    keys = KeySet(key_of(one.record.created, one.id) for one in signed).snapshot()
    return lambda asked: [["reconcile", reconcile.answer(keys, asked[2])]]


def gives(*signed: SignedRecord, gone: bytes = b"") -> Callable[[list[object]], list[object]]:
    frames = [["records", [codec.encode(one)]] for one in signed]
    return lambda _: [*frames, ["end", gone]]


def says(*messages: object) -> Callable[[list[object]], list[object]]:
    return lambda _: list(messages)


async def test_the_script_of_these_tests_is_a_good_peer() -> None:
    assert set((await against(claims(ONE, TWO), gives(ONE, TWO))).held) == {ONE.id, TWO.id}


@pytest.mark.parametrize(
    "replies",
    [
        (claims(ONE), gives(TWO)),
        (claims(ONE), gives(ONE, ONE)),
        (claims(OTHER), gives(OTHER)),
        (claims(ONE), says(["end", b"x"])),
        (claims(ONE), says(["end"])),
        (claims(ONE), says(["records", []])),
        (claims(ONE), says(["records", ["text"]])),
        (claims(ONE), says(["records", [b"x"] * 257])),
        (claims(ONE), says(["reconcile", b"\x61"])),
        (says(["reconcile", "text"]),),
        (says(["reconcile", b""]),),
        (says(["reconcile", b"\x62"]),),
        (says(["reconcile"]),),
        (says(["end", b""]),),
        (says({"reconcile": b""}),),
        (says(b"\xc1"),),
        (says(b""),),
    ],
)
async def test_a_peer_that_breaks_the_protocol_is_named(replies: Sequence[Callable[[list[object]], list[object]]]) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc((ProtocolError, RecordError)), allow_unwrapped=True, flatten_subgroups=True):
        await against(*replies)


async def test_a_peer_that_gives_less_than_it_said_is_named() -> None:
    with pytest.RaisesGroup(BrokenPromise):
        await against(claims(ONE, TWO), gives(ONE))
    gone = key_of(TWO.record.created, TWO.id)
    assert set((await against(claims(ONE, TWO), gives(ONE, gone=gone))).held) == {ONE.id}


async def test_a_forged_record_is_refused_and_not_stored() -> None:
    body, _ = unpack(codec.encode(ONE))
    door = MemoryDoor()
    with pytest.RaisesGroup(BadSignature):
        await against(claims(ONE), says(["records", [pack([body, b"s" * 64])]], ["end", b""]), door=door)
    assert door.held == {}


async def test_a_record_ahead_of_our_clock_waits_and_the_others_come() -> None:
    early = record(3, created=now_ms() + 2 * MAX_CLOCK_SKEW_MS)
    assert set((await against(claims(ONE, early), gives(early, ONE))).held) == {ONE.id}


async def test_a_record_of_another_version_is_passed_over_and_the_others_come() -> None:
    body, signature = unpack(codec.encode(ONE))
    strange = pack([pack(msgpack.unpackb(body) | {"version": codec.VERSION + 1}), signature])
    with pytest.raises(UnknownVersion):
        codec.load(strange)
    assert set((await against(claims(ONE, TWO), says(["records", [strange, codec.encode(TWO)]], ["end", b""]))).held) == {
        TWO.id
    }
    with pytest.RaisesGroup(ProtocolError):  # it stands for nothing that was asked for
        await against(claims(ONE), says(["records", [strange, codec.encode(ONE)]], ["end", b""]))


async def test_a_peer_may_claim_without_end_what_it_does_not_give_but_not_for_long() -> None:
    made = 0

    def invent(asked: list[object]) -> list[object]:
        nonlocal made
        if asked[0] == "get":
            ids = [asked[2][start : start + 32] for start in range(0, len(asked[2]), 32)]
            return [["end", b"".join(key_of(1, id_) for id_ in ids)]]
        made += 1
        new = made.to_bytes(32, "big")
        # an id in the lower half, and a fingerprint of the upper one that fits nothing
        return [["reconcile", reconcile.VERSION + b"\x05\x00\x02\x01" + new + b"\x00\x00\x01" + new[:16][::-1]]]

    assert (await against(invent)).held == {}
    assert made == MAX_BARREN


async def test_what_arrived_before_a_break_is_kept_and_the_next_goes_on() -> None:
    door = MemoryDoor()
    with pytest.RaisesGroup(ProtocolError):
        await against(claims(*POOL[:100]), says(["records", [codec.encode(one) for one in POOL[:60]]], b""), door=door)
    assert set(door.held) == {signed.id for signed in POOL[:60]}
    meeting = Meeting(list(door.held.values()), POOL[:100])
    await meeting.pull(["biology"])
    assert meeting.counters.synced_in == 40


async def test_a_door_that_fails_ends_the_pull() -> None:
    full = MemoryDoor()
    full.failure = StoreFull("no room left")
    with pytest.RaisesGroup(StoreFull):
        await against(claims(ONE), gives(ONE), door=full)


async def ask(*messages: object, held: Sequence[SignedRecord] = ()) -> list[str]:
    """What a provider makes of a peer that says these."""
    ours, theirs = pair()

    async def speak() -> None:
        for message in messages:
            await ours.send(message if isinstance(message, bytes) else pack(message))
        await ours._stream.stream.send_eof()

    async def listen() -> None:
        while True:
            await ours.receive()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(speak)
        nursery.start_soon(listen)
        try:
            return await Provider(theirs, MemoryDoor(held), TYPES, Counters(), no_limit).run()
        finally:
            nursery.cancel_scope.cancel()


OPENING = reconcile.opening(KeySet().snapshot())


async def test_a_provider_answers_and_hears_what_it_lacks() -> None:
    asked = ["get", "biology", ONE.id + bytes(32)], ["reconcile", "biology", OPENING], ["reconcile", "chess", OPENING]
    assert await ask(*asked, ["done", ["networking", "chess"]], held=[ONE]) == ["networking"]


@pytest.mark.parametrize(
    "message",
    [
        ["get", "biology", b""],
        ["get", "biology", b"x" * 31],
        ["get", "biology", bytes(32 * 1025)],
        ["get", "chess", bytes(32)],
        ["reconcile", "NOT A TYPE", OPENING],
        ["reconcile", "biology", b""],
        ["reconcile", "biology", b"\x61" + bytes(64 * 1024)],
        ["done", "biology"],
        ["done", [b"biology"]],
        ["done", ["biology"] * 65],
        [],
        {"get": 1},
        b"\xc1",
    ],
)
async def test_a_peer_that_asks_wrongly_is_named(message: object) -> None:
    with pytest.RaisesGroup(ProtocolError, allow_unwrapped=True, flatten_subgroups=True):
        await ask(message)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=64), max_size=4))
def test_garbage_never_ends_in_another_error(frames: list[bytes]) -> None:
    async def go() -> None:
        with pytest.RaisesGroup(
            pytest.RaisesExc((ProtocolError, NetworkError, RecordError)), allow_unwrapped=True, flatten_subgroups=True
        ):
            await ask(*frames)

    trio.run(go)


def test_frames_are_counted() -> None:
    async def go() -> tuple[Frames, Frames]:
        left, right = pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(left.send, b"abc")
            await right.receive()
        return left, right

    left, right = trio.run(go)
    assert (left.sent, right.received) == (7, 7)
