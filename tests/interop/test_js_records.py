"""Two implementations of the record format, written apart, take the same bytes for records and refuse the same."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from javascript import Script
from nacl.signing import SigningKey
from test_records import GOLDEN_EXPERIENCE, GOLDEN_RETRACTION

from espeer import records
from espeer.errors import ProtocolError, RecordError
from espeer.p2p.wire import MAX_BATCH, MAX_BATCH_RECORDS, load_batch
from espeer.records import Experience, Record, Retraction, SignedRecord

NOW = 1_800_000_000_000
KEY = SigningKey(bytes(range(32)))
EXPERIENCE = Experience("pumps", "E42: purge.", NOW, bytes(KEY.verify_key), "fake", "distilled", (b"\1" * 32,))
RETRACTION = Retraction("pumps", b"\2" * 32, NOW, bytes(KEY.verify_key))
KEYS = ("author", "created", "kind", "method", "model", "sources", "text", "type", "version")

some_record = st.sampled_from((EXPERIENCE, RETRACTION))
ids = st.binary(min_size=31, max_size=33) | st.just(b"\3" * 32)
integers = st.integers(-(2**63), 2**64 - 1) | st.sampled_from(
    (0, 127, 128, 255, 256, 2**16, 2**32, 2**48 - 1, 2**48, NOW + 600_001)
)
odd_texts = st.text(
    st.characters()
    | st.sampled_from("\t\n\r \x0b\x1c\x85\xa0\xad\u034f\u1680\u180e\u200b\u200e\u2028\u202f\u3000\ufeff\ufffe\U000e0041")
)
values = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    integers,
    ids,
    odd_texts,
    st.sampled_from(("experience", "retraction", "", "condensed", "A+b:1", "pumps\n", "a" * 33, "é" * 2048, "é" * 2049)),
    st.lists(ids | st.text(max_size=3), max_size=20),
    st.integers(95, 98).map(lambda count: [b"\4" * 32] * count),
    st.dictionaries(st.text(max_size=3), st.booleans(), max_size=2),
)


@pytest.fixture(scope="module")
def judge(node_js: str) -> Iterator[Script]:
    """The JavaScript implementation."""
    with Script(node_js, "records.mjs", str(NOW)) as script:
        yield script


@pytest.fixture(scope="module")
def message_judge(node_js: str) -> Iterator[Script]:
    """The JavaScript implementation, for gossip messages."""
    with Script(node_js, "records.mjs", str(NOW), "pumps") as script:
        yield script


def record_verdict(data: bytes) -> str:
    try:
        return records.decode(data, now_ms=NOW).id.hex()
    except RecordError:
        return "refused"


def message_verdict(data: bytes) -> str:
    try:
        batch = load_batch(data)
        for signed in batch:
            records.verify(signed, now_ms=NOW)
        return ",".join(signed.id.hex() for signed in batch)
    except (RecordError, ProtocolError):
        return "refused"


def agreed(judge: Script, data: bytes, verdict: Callable[[bytes], str] = record_verdict) -> str:
    """What both make of ``data``: the id of the record, or that it is refused."""
    judge.write(data.hex())
    said = judge.read().partition(":")[0]
    assert said == verdict(data)
    return said


def signed(body: bytes) -> bytes:
    """``body``, whatever it holds, signed as a record is."""
    return records.encode(SignedRecord(EXPERIENCE, body, KEY.sign(hashlib.sha256(body).digest()).signature))


def body(record: Record) -> bytes:
    return records.sign(record, lambda digest: KEY.sign(digest).signature).body


def fields(record: Record) -> dict[str, object]:
    found: dict[str, object] = msgpack.unpackb(body(record))
    return found


@given(record=some_record, key=st.sampled_from(KEYS), value=values)
@example(EXPERIENCE, "text", "\ufeffa").via("a byte order mark is a character like others")
@example(EXPERIENCE, "text", "\xa0\u3000").via("blank")
@example(EXPERIENCE, "type", "pumps\n").via("what $ matches before")
@example(EXPERIENCE, "text", "\ud800").via("half a character")
@example(EXPERIENCE, "version", True).via("equal to 1")
@example(EXPERIENCE, "created", float(NOW)).via("equal to an integer")
@settings(max_examples=1000, deadline=None)  # the other side is a process
def test_any_value_of_any_field(judge: Script, record: Record, key: str, value: object) -> None:
    changed = msgpack.packb(fields(record) | {key: value}, unicode_errors="surrogatepass")  # which is not UTF-8
    agreed(judge, signed(changed))


@given(record=some_record, data=st.data())
@settings(max_examples=500, deadline=None)
def test_any_byte_of_a_body_that_is_signed_as_it_is(judge: Script, record: Record, data: st.DataObject) -> None:
    changed = bytearray(body(record))
    at = data.draw(st.integers(0, len(changed) - 1))
    changed[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    agreed(judge, signed(bytes(changed)))


@pytest.mark.parametrize("golden", [GOLDEN_EXPERIENCE, GOLDEN_RETRACTION])
def test_golden_bytes(judge: Script, golden: str) -> None:
    assert agreed(judge, bytes.fromhex(golden)) == hashlib.sha256(msgpack.unpackb(bytes.fromhex(golden))[0]).hexdigest()


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_garbage(judge: Script, garbage: bytes) -> None:
    assert agreed(judge, garbage) == "refused"


@pytest.mark.parametrize("nesting", [b"\x81\xa0", b"\x91", b"\xdc\0\1", b"\x89\xa6author"])
def test_msgpack_that_is_deep(judge: Script, message_judge: Script, nesting: bytes) -> None:
    assert agreed(judge, nesting * 1000) == "refused"
    assert agreed(judge, signed(nesting * 1000)) == "refused"
    assert agreed(message_judge, nesting * 8000, message_verdict) == "refused"


@pytest.mark.parametrize("sign_bit", [0, 0x80])
@pytest.mark.parametrize(
    "point",
    [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ],
)
def test_a_key_that_everything_is_signed_by(judge: Script, point: str, sign_bit: int) -> None:
    author = bytearray.fromhex(point)
    author[31] |= sign_bit
    identity = bytes([1]) + bytes(31)
    for number in range(16):  # the signature (identity, 0) holds for one id in up to 8
        weak = msgpack.packb(fields(EXPERIENCE) | {"author": bytes(author), "created": NOW - number})
        assert agreed(judge, msgpack.packb([weak, identity + bytes(32)])) == "refused"
        assert agreed(judge, msgpack.packb([weak, bytes(author) + bytes(32)])) == "refused"


@pytest.mark.parametrize(
    ("count", "size", "taken"),
    [
        (0, 0, False),
        (1, 0, True),
        (MAX_BATCH_RECORDS, 0, True),
        (MAX_BATCH_RECORDS + 1, 0, False),
        (16, records.MAX_TEXT - 8, False),
        (15, records.MAX_TEXT - 8, True),
    ],
)
def test_messages_at_their_limits(message_judge: Script, count: int, size: int, *, taken: bool) -> None:
    large = [replace(EXPERIENCE, text=f"{number:03d} {'x' * size}.") for number in range(count)]
    message = msgpack.packb([signed(body(record)) for record in large])
    assert (len(message) <= MAX_BATCH) == (count * size < 16 * (records.MAX_TEXT - 8))
    assert (agreed(message_judge, message, message_verdict) != "refused") == taken


@given(st.lists(some_record, min_size=1, max_size=3), st.data())
@settings(max_examples=500, deadline=None)
def test_any_bytes_of_a_message(message_judge: Script, several: list[Record], data: st.DataObject) -> None:
    items = [signed(body(record)) for record in several]
    array = data.draw(st.sampled_from((bytes([0x90 | len(items)]), b"\xdc\0" + bytes([len(items)]), b"\x94")))
    head = data.draw(st.sampled_from((b"\xc5", b"\xc6\0\0", b"\xda")))
    message = array + b"".join(head + len(item).to_bytes(2, "big") + item for item in items)
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(message)))
        message = message[:at] + data.draw(st.binary(max_size=3)) + message[at + data.draw(st.integers(0, 2)) :]
    agreed(message_judge, message, message_verdict)
