import hashlib
from bisect import bisect_left

from hypothesis import given, settings
from hypothesis import strategies as st

from espeer.keys import KEY_SIZE, STAMP_SIZE, KeySet, key_of, varint
from espeer.records import MAX_CREATED_MS

# few stamps and few first bytes, so that keys collide in all ways
keys = st.builds(
    lambda stamp, head, number: stamp.to_bytes(8, "big") + bytes([head]) + number.to_bytes(31, "big"),
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(0, 200),
)


def made(count: int) -> list[bytes]:
    return [key_of(1_000_000 + number // 3, hashlib.sha256(b"%d" % number).digest()) for number in range(count)]


def fingerprint(ids: list[bytes]) -> bytes:
    """As Negentropy's specification words it."""
    total = sum(int.from_bytes(id_, "little") for id_ in ids) % 2**256
    return hashlib.sha256(total.to_bytes(32, "little") + varint(len(ids))).digest()[:16]


def test_the_newest_record_has_the_first_key() -> None:
    assert key_of(2, b"\0" * 32) < key_of(1, b"\xff" * 32)
    assert len(key_of(MAX_CREATED_MS - 1, b"i" * 32)) == len(key_of(0, b"i" * 32)) == KEY_SIZE


@settings(deadline=None)
@given(st.lists(keys, max_size=40), st.lists(keys, max_size=40), st.lists(keys, max_size=20), st.data())
def test_a_set_is_its_sorted_keys(first: list[bytes], later: list[bytes], gone: list[bytes], data: st.DataObject) -> None:
    made = KeySet(first)
    early = made.snapshot()
    for key in later:
        made.add(key)
    grown = made.snapshot()
    for key in gone:
        made.discard(key)
    for snapshot, plain in (
        (early, sorted(set(first))),
        (grown, sorted({*first, *later})),
        (made.snapshot(), sorted({*first, *later}.difference(gone))),
    ):
        assert len(snapshot) == len(plain)
        assert [snapshot[place] for place in range(len(plain))] == plain
        lower = data.draw(st.integers(0, len(plain)))
        upper = data.draw(st.integers(lower, len(plain)))
        stretch = [key[STAMP_SIZE:] for key in plain[lower:upper]]
        assert list(snapshot.ids(lower, upper)) == stretch
        assert snapshot.fingerprint(lower, upper) == fingerprint(stretch)
        bound = data.draw(keys)[: data.draw(st.integers(STAMP_SIZE, KEY_SIZE))]
        assert snapshot.find(bound) == bisect_left(plain, bound)


def test_a_large_set_grows_in_any_order() -> None:
    every = made(3000)
    grown, copied = KeySet(), KeySet(every[:1000])
    for key in [*every[::2], *every[1::2], *every[:50]]:
        grown.add(key)
    copied = KeySet.of(copied.snapshot())
    for key in every:
        copied.add(key)
    plain = sorted(every)
    for snapshot in (grown.snapshot(), copied.snapshot(), KeySet(every).snapshot()):
        assert list(snapshot.ids()) == [key[STAMP_SIZE:] for key in plain]
        for lower, upper in ((0, 3000), (0, 0), (3000, 3000), (127, 129), (1, 2999), (1500, 1501)):
            assert snapshot.fingerprint(lower, upper) == fingerprint([key[STAMP_SIZE:] for key in plain[lower:upper]])
        assert [snapshot.find(key) for key in plain[::97]] == list(range(0, 3000, 97))


def test_a_snapshot_does_not_change() -> None:
    every = made(600)
    growing = KeySet(every[::2])
    before = growing.snapshot()
    told = before.fingerprint(0, 300)
    same = KeySet.of(before)
    for key in every[1::2]:
        growing.add(key)
        same.add(key)
    assert len(before) == 300
    assert before.fingerprint(0, 300) == told
    assert len(growing) == len(growing.snapshot()) == len(same) == len(same.snapshot()) == 600


def test_a_large_set_shrinks_to_nothing_and_grows_again() -> None:
    every = made(1000)
    shrinking = KeySet(every)
    before = shrinking.snapshot()
    for key in every[::-3]:
        shrinking.discard(key)
        shrinking.discard(key)
    left = sorted(set(every).difference(every[::-3]))
    assert list(shrinking.snapshot().ids()) == [key[STAMP_SIZE:] for key in left]
    assert shrinking.snapshot().fingerprint(1, 500) == fingerprint([key[STAMP_SIZE:] for key in left[1:500]])
    for key in left:
        shrinking.discard(key)
    assert len(shrinking) == len(shrinking.snapshot()) == 0
    shrinking.add(every[0])
    assert list(shrinking.snapshot().ids()) == [every[0][STAMP_SIZE:]]
    assert len(before) == 1000


def test_variable_length_integers() -> None:
    assert [varint(number).hex() for number in (0, 1, 127, 128, 300, 2**64 - 1)] == [
        "00", "01", "7f", "8100", "822c", "81ffffffffffffffff7f",
    ]  # fmt: skip
