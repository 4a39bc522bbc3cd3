"""One way to write a record, and every other is refused by name."""

import hashlib
import re
import struct
from pathlib import Path

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from espeer import records
from espeer.errors import BadSignature, FromTheFuture, MalformedRecord, RecordError, RecordTooLarge, UnknownVersion
from espeer.records import Experience, Record, Retraction, SignedRecord
from espeer.text import is_clean

KEY = SigningKey(bytes(range(32)))
AUTHOR = bytes(KEY.verify_key)
NOW = 1_800_000_000_000

ids = st.binary(min_size=32, max_size=32)
types = st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True)
times = st.integers(0, NOW)
texts = st.text(min_size=1, max_size=1000).filter(lambda text: is_clean(text) and len(text.encode()) <= records.MAX_TEXT)
experiences = st.builds(
    Experience,
    type=types,
    text=texts,
    created=times,
    author=st.just(AUTHOR),
    model=st.from_regex(r"[A-Za-z0-9._:+-]{1,64}", fullmatch=True),
    method=st.sampled_from(records.METHODS),
    sources=st.lists(ids, max_size=records.MAX_SOURCES).map(tuple),
).filter(lambda e: len(e.text.encode()) + 34 * len(e.sources) < 7500)
retractions = st.builds(Retraction, type=types, target=ids, created=times, author=st.just(AUTHOR))
any_record = experiences | retractions


def sign(record: Record, key: SigningKey = KEY) -> SignedRecord:
    return records.sign(record, lambda digest: key.sign(digest).signature)


def plain(text: str = "Purge the line.", **changes: object) -> Experience:
    values = {"type": "pumps", "text": text, "created": NOW, "author": AUTHOR, "model": "fake", "method": "distilled"}
    return Experience(**(values | changes))  # type: ignore[arg-type]


@given(any_record)
def test_what_is_encoded_decodes_to_the_same(record: Record) -> None:
    signed = sign(record)
    decoded = records.decode(records.encode(signed), now_ms=NOW)
    assert decoded == signed
    assert decoded.id == hashlib.sha256(signed.body).digest()


@given(any_record, st.data())
@settings(max_examples=300)
def test_any_flipped_byte_is_refused_by_name(record: Record, data: st.DataObject) -> None:
    encoded = bytearray(records.encode(sign(record)))
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] ^= data.draw(st.integers(1, 255))
    with pytest.raises(RecordError):
        records.decode(bytes(encoded), now_ms=NOW)


def test_every_byte_of_one_record_flipped() -> None:
    encoded = records.encode(sign(plain()))
    for position in range(len(encoded)):
        for bit in range(8):
            changed = bytearray(encoded)
            changed[position] ^= 1 << bit
            with pytest.raises(RecordError):
                records.decode(bytes(changed), now_ms=NOW)


@given(st.binary(max_size=300))
def test_garbage_is_refused_by_name(garbage: bytes) -> None:
    with pytest.raises(RecordError):
        records.decode(garbage, now_ms=NOW)


def msgpack_by_hand(value: object) -> bytes:  # noqa: PLR0911 - one line a form of the format
    """A second implementation of the canonical form, from the msgpack specification alone."""
    match value:
        case int() if value < 128:
            return struct.pack("B", value)
        case int() if value < 1 << 8:
            return b"\xcc" + struct.pack(">B", value)
        case int() if value < 1 << 16:
            return b"\xcd" + struct.pack(">H", value)
        case int() if value < 1 << 32:
            return b"\xce" + struct.pack(">I", value)
        case int():
            return b"\xcf" + struct.pack(">Q", value)
        case bytes() if len(value) < 1 << 8:
            return b"\xc4" + struct.pack(">B", len(value)) + value
        case bytes():
            return b"\xc5" + struct.pack(">H", len(value)) + value
        case str():
            raw = value.encode()
            if len(raw) < 32:
                return struct.pack("B", 0xA0 | len(raw)) + raw
            if len(raw) < 1 << 8:
                return b"\xd9" + struct.pack(">B", len(raw)) + raw
            return b"\xda" + struct.pack(">H", len(raw)) + raw
        case list():
            head = struct.pack("B", 0x90 | len(value)) if len(value) < 16 else b"\xdc" + struct.pack(">H", len(value))
            return head + b"".join(map(msgpack_by_hand, value))
        case dict():
            pairs = sorted(value.items(), key=lambda pair: pair[0].encode())
            return struct.pack("B", 0x80 | len(pairs)) + b"".join(msgpack_by_hand(part) for pair in pairs for part in pair)
    raise TypeError(value)


@given(any_record)
def test_a_second_implementation_writes_the_same_bytes(record: Record) -> None:
    experience = isinstance(record, Experience)
    body = msgpack_by_hand(
        {
            "version": 1,
            "kind": "experience" if experience else "retraction",
            "type": record.type,
            "text": record.text if isinstance(record, Experience) else "",
            "created": record.created,
            "author": record.author,
            "model": record.model if isinstance(record, Experience) else "",
            "method": record.method if isinstance(record, Experience) else "",
            "sources": list(record.sources) if isinstance(record, Experience) else [record.target],
        }
    )
    signed = sign(record)
    assert body == signed.body
    assert msgpack_by_hand([body, signed.signature]) == records.encode(signed)


GOLDEN_EXPERIENCE = (
    "92c4d989a6617574686f72c42003a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8a763726561746564cf0000"
    "01a3185c5000a46b696e64aa657870657269656e6365a66d6574686f64a772657472696564a56d6f64656cac736d6f6c6c6d323a71385f30"
    "a7736f757263657391c4200101010101010101010101010101010101010101010101010101010101010101a474657874d9264534323a2070"
    "7572676520746865206c696e6520666f722034302073206174203420c2b0432ea474797065a570756d7073a776657273696f6e01c4400d4d"
    "ba866d7f53dd83c90f873179e040a95895d821bf7d046dc8f06189f28e2c47b0f6ea8aaacbe352610e835dfcf027573a9f61bfe431c82b47"
    "4b8eaa86b30c"
)
GOLDEN_RETRACTION = (
    "92c49f89a6617574686f72c42003a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8a763726561746564cf0000"
    "01a3185c5000a46b696e64aa72657472616374696f6ea66d6574686f64a0a56d6f64656ca0a7736f757263657391c4200202020202020202"
    "020202020202020202020202020202020202020202020202a474657874a0a474797065a570756d7073a776657273696f6e01c4401ab51164"
    "dff10e19635b14d4796eb9995654264f2ca202905561e4aa16c500be62a182074465f2319cd113a8fbf41fc063cc52136d84a84d946134fa"
    "c0e8cd0a"
)


def test_golden_bytes() -> None:
    """These never change: a change would split the network."""
    experience = Experience(
        "pumps", "E42: purge the line for 40 s at 4 °C.", NOW, AUTHOR, "smollm2:q8_0", "retried", (b"\1" * 32,)
    )
    retraction = Retraction("pumps", b"\2" * 32, NOW, AUTHOR)
    assert records.encode(sign(experience)).hex() == GOLDEN_EXPERIENCE
    assert records.encode(sign(retraction)).hex() == GOLDEN_RETRACTION
    assert records.decode(bytes.fromhex(GOLDEN_EXPERIENCE), now_ms=NOW).record == experience
    assert records.decode(bytes.fromhex(GOLDEN_RETRACTION), now_ms=NOW).record == retraction


@pytest.mark.parametrize(
    ("record", "error"),
    [
        (plain(type="Pumps"), MalformedRecord),
        (plain(type="p" * 33), MalformedRecord),
        (plain(type=""), MalformedRecord),
        (plain(text="  \n"), MalformedRecord),
        (plain(text="a\x1b[2J"), MalformedRecord),
        (plain(text="a\u202eb"), MalformedRecord),
        (plain(text="a\ud800"), MalformedRecord),
        (plain(text="é" * 2049), RecordTooLarge),
        (plain(created=-1), MalformedRecord),
        (plain(created=2**48), MalformedRecord),
        (plain(author=b"short"), MalformedRecord),
        (plain(model=""), MalformedRecord),
        (plain(method="guessed"), MalformedRecord),
        (plain(sources=(b"x",)), MalformedRecord),
        (plain(sources=(b"x" * 32,) * (records.MAX_SOURCES + 1)), MalformedRecord),
        (Retraction("pumps", b"x", NOW, AUTHOR), MalformedRecord),
    ],
)
def test_what_breaks_a_rule_is_not_even_signed(record: Record, error: type[Exception]) -> None:
    with pytest.raises(error):
        sign(record)


def test_a_record_over_8_kib_is_refused_in_both_directions() -> None:
    big = plain("x" * records.MAX_TEXT, sources=(b"x" * 32,) * records.MAX_SOURCES)
    assert len(records.encode(sign(big))) <= records.MAX_RECORD  # the limits of the fields leave room
    with pytest.raises(RecordTooLarge):
        records.decode(bytes(records.MAX_RECORD + 1), now_ms=NOW)


def test_a_record_signed_by_another_key_is_refused() -> None:
    with pytest.raises(BadSignature):
        records.decode(records.encode(sign(plain(), SigningKey(bytes(32)))), now_ms=NOW)


@pytest.mark.parametrize("fields", [{}, {"another": "field"}])
def test_a_record_of_another_version_is_told_from_a_broken_one(fields: dict[str, str]) -> None:
    body = msgpack.unpackb(sign(plain()).body) | {"version": 2} | fields
    with pytest.raises(UnknownVersion):
        records.decode(msgpack.packb([msgpack.packb(body), bytes(64)]), now_ms=NOW)


def test_ten_minutes_ahead_is_taken_and_more_is_not() -> None:
    limit = NOW + records.MAX_CLOCK_SKEW_MS
    assert records.decode(records.encode(sign(plain(created=limit))), now_ms=NOW).record.created == limit
    with pytest.raises(FromTheFuture):
        records.decode(records.encode(sign(plain(created=limit + 1))), now_ms=NOW)


@pytest.mark.parametrize(("raw", "name"), [("SmolLM2 135M.Q8_0", "SmolLM2-135M.Q8_0"), ("", "unknown"), ("ü" * 9, "unknown")])
def test_model_names_fit_a_record(raw: str, name: str) -> None:
    assert records.model_name(raw) == name


def test_the_examples_of_the_protocols_page_are_the_golden_bytes() -> None:
    page = (Path(__file__).parent.parent / "docs" / "protocol.md").read_text()
    blocks = [block for block in re.findall(r"```\n(92.*?)```", page, re.DOTALL) if "…" not in block]
    shown = ["".join(re.split(r" {3,}", line.strip())[0].replace(" ", "") for line in block.splitlines()) for block in blocks]
    assert shown == [GOLDEN_EXPERIENCE, GOLDEN_RETRACTION]
