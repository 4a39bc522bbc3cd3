import time

import msgpack
import pytest
import trio
import trio.testing
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from replicas import identity, now_ms, record, records

from espeer.errors import BadSignature, Flooding, FromTheFuture, MalformedRecord, ProtocolError
from espeer.p2p.door import Counters
from espeer.p2p.pubsub import Verdict
from espeer.p2p.screen import AUTHOR_BURST, AUTHOR_RATE, FRESH_MS, REPLAY_BURST, Screen
from espeer.p2p.wire import encode_batch
from espeer.records import MAX_CLOCK_SKEW_MS, SignedRecord, encode

SENDER = identity(5)
FORWARDER = "some peer"


def message(*batch: SignedRecord, data: bytes | None = None, seqno: bytes | None = None) -> rpc_pb2.Message:
    """A message that is signed as it should be."""
    made = rpc_pb2.Message(
        data=encode_batch(batch)[0] if data is None else data,
        topicIDs=["/espeer/1/test/biology"],
        from_id=ID.from_string(SENDER.peer_id).to_bytes(),
        seqno=time.time_ns().to_bytes(8, "big") if seqno is None else seqno,
    )
    made.signature = SENDER.key_pair.private_key.sign(b"libp2p-pubsub:" + made.SerializeToString())
    return made


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def screen(counters: Counters) -> Screen:
    return Screen(now_ms=now_ms, counters=counters)


async def test_what_is_new_is_taken_and_passed_on_once(screen: Screen, counters: Counters) -> None:
    batch = records(3)
    assert screen.judge(FORWARDER, message(*batch), "biology") == (Verdict.FORWARD, batch)
    assert screen.judge("another", message(*batch), "biology") == (Verdict.IGNORE, [])
    assert screen.judge(FORWARDER, message(batch[0]), "biology") == (Verdict.IGNORE, [])
    assert counters.replayed == 2


async def test_of_a_message_only_the_new_records_are_taken(screen: Screen) -> None:
    old, new = records(2)
    screen.judge(FORWARDER, message(old), "biology")
    assert screen.judge(FORWARDER, message(old, new), "biology") == (Verdict.FORWARD, [new])


async def test_what_we_published_is_known(screen: Screen) -> None:
    own = records(2)
    screen.note(own)
    assert screen.judge(FORWARDER, message(*own), "biology")[0] is Verdict.IGNORE


async def test_who_replays_without_end_is_told_on(autojump_clock: trio.testing.MockClock, screen: Screen) -> None:
    again = message(record(1))
    screen.judge(SENDER.peer_id, again, "biology")
    for _ in range(int(REPLAY_BURST)):
        screen.judge(SENDER.peer_id, again, "biology")
    with pytest.raises(Flooding):
        screen.judge(SENDER.peer_id, again, "biology")
    await trio.sleep(1)
    screen.judge(SENDER.peer_id, again, "biology")


async def test_who_passes_on_what_another_publishes_twice_is_not_told_on(screen: Screen) -> None:
    again = message(record(1))
    for _ in range(int(REPLAY_BURST) + 2):
        screen.judge(FORWARDER, again, "biology")


async def test_a_known_record_with_a_forged_signature_is_not_passed_on_beside_a_new_one(screen: Screen) -> None:
    old, new = records(2)
    screen.judge(FORWARDER, message(old), "biology")
    forged = SignedRecord(old.record, old.body, bytes(64))
    with pytest.raises(BadSignature):
        screen.judge(FORWARDER, message(forged, new), "biology")


@pytest.mark.parametrize("seqno", [b"", b"1234567", b"123456789"])
async def test_what_other_implementations_do_not_take_is_not_passed_on(screen: Screen, seqno: bytes) -> None:
    with pytest.raises(ProtocolError, match="seqno"):
        screen.judge(FORWARDER, message(record(1), seqno=seqno), "biology")


@pytest.mark.parametrize("key", [b"", b"k", identity(6).key_pair.public_key.serialize()], ids=["none", "no key", "another's"])
async def test_a_key_that_is_not_the_senders_is_not_passed_on(screen: Screen, key: bytes) -> None:
    good = message(record(1))
    good.key = SENDER.key_pair.public_key.serialize()
    assert screen.judge(FORWARDER, good, "biology")[0] is Verdict.FORWARD
    bad = message(record(2))
    bad.key = key
    with pytest.raises(BadSignature):
        screen.judge(FORWARDER, bad, "biology")


async def test_an_old_record_is_taken_and_not_passed_on(screen: Screen) -> None:
    old = record(1, created=now_ms() - FRESH_MS - 1000)
    assert screen.judge(FORWARDER, message(old), "biology") == (Verdict.KEEP, [old])


async def test_an_author_may_burst_and_then_keep_a_rate(
    autojump_clock: trio.testing.MockClock, screen: Screen, counters: Counters
) -> None:
    def taken(start: int) -> int:
        return sum(screen.judge(FORWARDER, message(record(start + n)), "biology")[0] is Verdict.FORWARD for n in range(300))

    assert taken(0) == AUTHOR_BURST
    await trio.sleep(1)
    assert taken(300) == AUTHOR_RATE
    assert counters.dropped == 600 - AUTHOR_BURST - AUTHOR_RATE
    another = record(1, author=identity(8))
    assert screen.judge(FORWARDER, message(another), "biology")[0] is Verdict.FORWARD


async def test_what_is_over_the_rate_is_not_asked_for_again_but_must_be_signed(
    autojump_clock: trio.testing.MockClock, screen: Screen
) -> None:
    for n in range(200):
        screen.judge(FORWARDER, message(record(n)), "biology")
    late = message(record(200))
    assert screen.judge(FORWARDER, late, "biology") == (Verdict.KEEP, [])
    late.signature = bytes(64)
    with pytest.raises(BadSignature):
        screen.judge(FORWARDER, late, "biology")


async def test_who_forges_records_does_not_use_up_their_authors_share(screen: Screen) -> None:
    for n in range(int(AUTHOR_BURST) + 1):
        body, _ = msgpack.unpackb(encode(record(n)))
        with pytest.raises(BadSignature):
            screen.judge(FORWARDER, message(data=msgpack.packb([msgpack.packb([body, bytes(64)])])), "biology")
    assert screen.judge(FORWARDER, message(record(1)), "biology")[0] is Verdict.FORWARD


async def test_a_message_must_be_signed_by_its_sender(screen: Screen) -> None:
    for change in ({"signature": bytes(64)}, {"from_id": b""}, {"from_id": b"\xff" * 40}, {"seqno": b"8"}):
        bad = message(record(1))
        for name, value in change.items():
            setattr(bad, name, value)
        with pytest.raises(BadSignature):
            screen.judge(FORWARDER, bad, "biology")
    assert screen.judge(FORWARDER, message(record(1)), "biology")[0] is Verdict.FORWARD


async def test_what_is_refused_is_refused_by_name(screen: Screen) -> None:
    with pytest.raises(ProtocolError):
        screen.judge(FORWARDER, message(record(1, kind="networking")), "biology")
    with pytest.raises(ProtocolError):
        screen.judge(FORWARDER, message(data=b"\xc1"), "biology")
    with pytest.raises(MalformedRecord):
        screen.judge(FORWARDER, message(data=msgpack.packb([b"x"])), "biology")
    future = message(record(1, created=now_ms() + 2 * MAX_CLOCK_SKEW_MS))
    for _ in range(2):
        with pytest.raises(FromTheFuture):
            screen.judge(FORWARDER, future, "biology")
