import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replicas import identity, now_ms, record, records

from espeer.errors import EspeerError, ProtocolError
from espeer.p2p.wire import MAX_ARRAYS, MAX_BATCH, MAX_BATCH_RECORDS, encode_batch, load_batch, unpack
from espeer.records import Experience, SignedRecord, encode, sign, verify

ALICE = identity(1)
texts = st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=1000)
signed_records = st.builds(
    lambda text, kind: sign(Experience(kind, text, 1, ALICE.public, "m", "distilled"), ALICE.sign),
    texts,
    st.sampled_from(["biology", "networking"]),
)
BATCH = encode_batch([record(number, created=number) for number in range(3)])[0]


def decoded(data: bytes) -> list[SignedRecord]:
    """A gossip message's records, verified."""
    batch = load_batch(data)
    for signed in batch:
        verify(signed, now_ms=now_ms())
    return batch


@settings(max_examples=30)
@given(st.lists(signed_records, max_size=150))
def test_batches_round_trip_within_the_limits(batch: list[SignedRecord]) -> None:
    messages = encode_batch(batch)
    parts = [decoded(message) for message in messages]
    assert [signed for part in parts for signed in part] == batch
    assert all(len(message) <= MAX_BATCH for message in messages)
    assert all(len(part) <= MAX_BATCH_RECORDS for part in parts)


def test_large_records_are_spread_over_messages() -> None:
    large = [sign(Experience("biology", "x" * 4000, n, ALICE.public, "m", "distilled"), ALICE.sign) for n in range(40)]
    messages = encode_batch(large)
    assert len(messages) == 3
    assert [signed for message in messages for signed in decoded(message)] == large


def test_many_records_are_spread_over_messages() -> None:
    assert [len(decoded(message)) for message in encode_batch(records(150))] == [64, 64, 22]


@given(st.binary(max_size=300))
def test_garbage_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(EspeerError):
        decoded(data)


@given(st.integers(0, len(BATCH) - 1))
def test_every_truncation_is_refused_by_name(end: int) -> None:
    with pytest.raises(EspeerError):
        decoded(BATCH[:end])


@given(st.integers(0, len(BATCH) - 1), st.integers(1, 255))
def test_every_flip_is_refused_by_name(where: int, mask: int) -> None:
    flipped = bytearray(BATCH)
    flipped[where] ^= mask
    with pytest.raises(EspeerError):
        decoded(bytes(flipped))


@pytest.mark.parametrize("array", [b"\x91", b"\xdc\0\1", b"\xdd\0\0\0\1"])
@pytest.mark.parametrize("item", [b"\xc4", b"\xc5\0", b"\xc6\0\0\0"])
def test_only_the_shortest_form_of_a_message_is_taken(array: bytes, item: bytes) -> None:
    signed = sign(Experience("biology", "x", 1, ALICE.public, "m", "distilled"), ALICE.sign)
    encoded = encode(signed)
    message = array + item + bytes([len(encoded)]) + encoded
    if message == encode_batch([signed])[0]:
        assert decoded(message) == [signed]
    else:
        with pytest.raises(ProtocolError, match="canonical"):
            decoded(message)


nested = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(0, 9), inner, max_size=2),
    max_leaves=8,
)


@given(nested)
def test_other_msgpack_is_refused_by_name(value: object) -> None:
    with pytest.raises(EspeerError):
        decoded(msgpack.packb(value))


@pytest.mark.parametrize(
    "data",
    [
        b"\x91" * 5000,
        b"\xdd\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xd6\xff\0\0\0\0",
        b"\x81\xc0\xc0",
        b"\x80",
        b"\x9a" + (b"\x9a" + b"\x9a" * 10 + b"\x90" * 100) * 10,
    ],
    ids=["deep", "array", "string", "bytes", "timestamp", "map", "empty map", "many empty arrays"],
)
def test_msgpack_bombs_are_refused_by_name(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        unpack(data)


def test_as_many_arrays_as_may_be() -> None:
    arrays: list[list[None]] = [[] for _ in range(MAX_ARRAYS)]
    assert unpack(msgpack.packb(arrays[1:]), max_items=MAX_ARRAYS) == arrays[1:]
    with pytest.raises(ProtocolError, match="too many arrays"):
        unpack(msgpack.packb(arrays), max_items=MAX_ARRAYS)
