import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espeer.errors import ProtocolError
from espeer.keys import STAMP_SIZE, Keys, KeySet, varint
from espeer.p2p import reconcile
from espeer.p2p.reconcile import FINGERPRINT, IDS, MAX_MESSAGE, SKIP, VERSION

SLACK = 1400  # the limit and one range more
INFINITY = b"\0\0"


def item(number: int, stamp: int) -> bytes:
    return stamp.to_bytes(STAMP_SIZE, "big") + hashlib.sha256(b"item %d" % number).digest()


def ids(keys: set[bytes]) -> set[bytes]:
    return {key[STAMP_SIZE:] for key in keys}


def meet(ours: Keys, theirs: Keys, limit: int = reconcile.LIMIT) -> tuple[set[bytes], int, int, int]:
    """Reconcile to the end: ids that we need, whether they lack some, rounds and bytes."""
    need: set[bytes] = set()
    have = rounds = size = 0
    message: bytes | None = reconcile.opening(ours)
    while message is not None:
        answer = reconcile.answer(theirs, message, limit=limit)
        assert max(len(message), len(answer)) <= limit + SLACK
        rounds += 1
        size += len(message) + len(answer)
        found = reconcile.compare(ours, answer, limit=limit)
        need.update(found.need)
        have += len(found.have)
        message = found.reply
    return need, have, rounds, size


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0, 1, 31, 32, 33, 200, 1500]), st.sampled_from([1, 3, 10_000]))
def test_both_sides_find_out_what_they_need(seed: int, size: int, span: int) -> None:
    rng = random.Random(seed)
    pool = [item(number, rng.randrange(span)) for number in range(size)]
    shares = [rng.choice([0, 0.5, 0.99, 1]) for _ in range(2)]
    ours, theirs = ({key for key in pool if rng.random() < share} for share in shares)
    need, have, rounds, _ = meet(KeySet(ours).snapshot(), KeySet(theirs).snapshot(), rng.choice([4096, 32768]))
    assert need == ids(theirs - ours)
    assert (have > 0) == bool(ours - theirs)
    assert rounds < 200


# made by another implementation of Negentropy V1 (nostr-tools 2, nip77): its first messages for items number // 2 + 1000
# fmt: off
GOLDEN = {
    0: "6100000200",
    3: "6100000203acadda60a86d56e836b3df33c0bd3205d7e0f0ffb12733b44866917582286cdef5201cf555e7b13e0dc1d8c025407e0d2d96eb5728d49"
    "be67c29becdc1ee44ba7f5f00f1199c45329d4e101bb8160f5c2d47998e87ec2520f7a8146250375a3d",
    40: "6187"
    "6a01b30145a2895c8997e089756055fd6899ea2f030001af7d26ad6177d9162075575f06bfc03702014901e9f5d87c64c178207c9acf13d3dca"
    "79a030001b756568c210fcdf1e66e9c98c5e4e26c0201f201c225b7fe54ecfa6ef394b6d5982ce1b5030001910f77b653b7c016f676a91a3d034e3c"
    "0201bb01913f7cb51622913753d725224f363a2803000129f47f551da7f1ce5014e1b263cf713402000162c1ac2bf9ff55cc951fd0c02117ad6a020"
    "00125d7307a3d149639650896748caacdb6020001caf8d2d739148d2e3652b5a07b05f5db020001fefa3ed7693076fc17e6a83b2e0c1ca302000"
    "18a95f946bf24351ade680b9c9175059c020001dee27e8bb1bbfab4f1df110489d767e60200014d6513f881396a7a91a6e59fa1482311000001"
    "6d09aaad87130fc5999a5ab24df330b8",
}
# fmt: on


@pytest.mark.parametrize("size", GOLDEN)
def test_the_first_message_is_the_one_of_another_implementation(size: int) -> None:
    keys = KeySet(item(number, 1000 + number // 2) for number in range(size)).snapshot()
    assert reconcile.opening(keys).hex() == GOLDEN[size]


def test_the_answers_are_those_written_down() -> None:
    ours = KeySet(item(number, 1000 + number) for number in range(40)).snapshot()
    theirs = KeySet(item(number, 1000 + number) for number in range(41) if number != 7).snapshot()
    first = reconcile.opening(ours)
    answer = reconcile.answer(theirs, first)
    # skip to 1006, one id from there to 1009, skip to 1038, and the three from there on
    near = b"".join([item(6, 0)[8:], item(8, 0)[8:]])
    far = b"".join(item(number, 0)[8:] for number in (38, 39, 40))
    assert answer == (
        VERSION
        + varint(1007) + b"\0" + varint(SKIP)
        + varint(4) + b"\0" + varint(IDS) + varint(2) + near
        + varint(30) + b"\0" + varint(SKIP)
        + INFINITY + varint(IDS) + varint(3) + far
    )  # fmt: skip
    found = reconcile.compare(ours, answer)
    assert found == reconcile.Comparison(need=[item(40, 0)[8:]], have=[item(7, 0)[8:]], reply=None)


def test_equal_sets_take_one_round_and_half_a_kilobyte() -> None:
    keys = KeySet(item(number, 1_000_000_000_000 + 60_000 * number) for number in range(20_000)).snapshot()
    assert meet(keys, keys)[:3] == (set(), 0, 1)
    assert meet(keys, keys)[3] < 500


def test_a_large_answer_comes_in_parts_the_newest_first() -> None:
    theirs = KeySet(item(number, number) for number in range(5_000)).snapshot()
    first = reconcile.compare(KeySet().snapshot(), reconcile.answer(theirs, reconcile.opening(KeySet().snapshot())))
    assert first.need == list(theirs.ids(0, len(first.need)))
    assert 900 < len(first.need) < 1_100
    assert first.reply is not None


def test_the_sets_may_grow_meanwhile() -> None:
    every = [item(number, number) for number in range(3_000)]
    ours, theirs = KeySet(every[::2]), KeySet(every)
    need: set[bytes] = set()
    message: bytes | None = reconcile.opening(ours.snapshot())
    by_id = {key[STAMP_SIZE:]: key for key in every}
    while message is not None:
        found = reconcile.compare(ours.snapshot(), reconcile.answer(theirs.snapshot(), message, limit=4096), limit=4096)
        assert not need & set(found.need)  # what was taken in is not found missing again
        need.update(found.need)
        for id_ in found.need:
            ours.add(by_id[id_])
        message = found.reply
    assert need == ids(set(every[1::2]))


KEYS = KeySet(item(number, number) for number in range(100)).snapshot()


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x62",  # another version, from the side that answers
        VERSION + b"\x80" * 20,
        VERSION + varint(5),
        VERSION + varint(5) + varint(33) + b"x" * 33 + varint(SKIP),
        VERSION + varint(5) + varint(3) + b"xy",
        VERSION + INFINITY + varint(3),
        VERSION + INFINITY + varint(FINGERPRINT) + b"x" * 15,
        VERSION + INFINITY + varint(IDS) + varint(2) + b"x" * 32,
        VERSION + INFINITY + varint(IDS) + varint(2**60) + b"x" * 32,
        VERSION + varint(2**64) + varint(0) + varint(SKIP) + varint(2**64) + varint(0) + varint(SKIP),
        VERSION + b"\0" * MAX_MESSAGE,
    ],
)
def test_what_is_no_message_is_refused(message: bytes) -> None:
    with pytest.raises(ProtocolError):
        reconcile.compare(KEYS, message)


def test_another_version_is_answered_with_ours() -> None:
    assert reconcile.answer(KEYS, b"\x62" + b"something newer") == VERSION


ranges = st.builds(
    lambda step, prefix, mode, payload: varint(step) + varint(len(prefix)) + prefix + varint(mode) + payload,
    st.integers(0, 60),
    st.binary(max_size=32),
    st.integers(0, 3),
    st.binary(min_size=16, max_size=16) | st.builds(lambda n: varint(n) + b"i" * 32 * n, st.integers(0, 3)),
)


@settings(deadline=None)
@given(st.binary(max_size=200) | st.lists(ranges, max_size=20).map(b"".join))
def test_lies_and_garbage_cost_little_and_raise_nothing_else(rest: bytes) -> None:
    for ours in (KEYS, KeySet().snapshot()):
        try:
            assert len(reconcile.answer(ours, VERSION + rest, limit=4096)) <= 4096 + SLACK
            found = reconcile.compare(ours, VERSION + rest, limit=4096)
        except ProtocolError:
            continue
        assert len(found.need) <= len(rest) // 32
        assert found.reply is None or len(found.reply) <= 4096 + SLACK
