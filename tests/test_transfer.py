"""Records as lines: what was exported is taken in as it was, and nothing else is."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from espeer import records
from espeer.errors import EspeerError
from espeer.records import MAX_SOURCES, MAX_TEXT, Experience, Retraction, SignedRecord
from espeer.transfer import MAX_LINE, MAX_REFUSALS, Refusal, fields, line, read_batch, read_line

Make = Callable[..., SignedRecord]
KEY = SigningKey(bytes(range(32)))


def signed(value: Experience | Retraction) -> SignedRecord:
    return records.sign(value, lambda digest: KEY.sign(digest).signature)


def test_a_line_gives_the_record_back(experience: Make, now: int) -> None:
    made = experience('E42 — "air" in the line.\nPurge it: 40 s.')
    text = line(fields(made))
    assert text.count("\n") == 1
    assert json.loads(text)["text"] == made.record.text  # type: ignore[union-attr]
    assert read_line(text, now_ms=now) == made
    taken_back = signed(Retraction("pumps", made.id, now, made.record.author))
    assert read_line(line(fields(taken_back)), now_ms=now) == taken_back
    assert json.loads(line(fields(taken_back)))["target"] == made.id.hex()


def test_the_bytes_alone_are_enough_and_what_else_stands_there_does_not_matter(experience: Make, now: int) -> None:
    made = experience("E42 means air.")
    alone = {"record": fields(made)["record"], "note": ["of somebody's"]}
    assert read_line(json.dumps(alone), now_ms=now) == made


def test_the_longest_record_fits_a_line(now: int) -> None:
    texts = ('"' * MAX_TEXT, "\n".join("x" * (MAX_TEXT // 2)) + ".", "é" * (MAX_TEXT // 2), "😀" * (MAX_TEXT // 4))
    for text in texts:
        sources = tuple(bytes([number]) * 32 for number in range(MAX_SOURCES))
        made = signed(Experience("t" * 32, text, now, bytes(KEY.verify_key), "m" * 64, "condensed", sources))
        for written in (line(fields(made)), json.dumps(fields(made))):
            assert len(written.encode()) <= MAX_LINE
            assert read_line(written, now_ms=now) == made


def change(told: dict[str, Any], name: str, value: Any) -> str:
    return json.dumps(told | {name: value})


def test_what_is_not_sound_is_refused_with_its_line_and_the_rest_is_taken(experience: Make, now: int) -> None:
    good, other = experience("E42 means air."), experience("K7 means heat.")
    told, data = fields(good), records.encode(good)
    bent = bytearray(data)
    bent[-1] ^= 1
    lines = [
        line(told),
        "",
        change(told, "text", "E42 means nothing."),
        change(told, "author", records.peer_id(bytes(32))),
        change(told, "id", other.id.hex()),
        change(told, "record", base64.b64encode(bent).decode()),
        change(told, "record", fields(other)["record"]),
        change(told, "record", "not base64!"),
        change(told, "record", 7),
        "{",
        "[" * 20_000,
        "[]",
        "x" * (MAX_LINE + 1),
        line(fields(experience("From tomorrow.", created=now + 86_400_000))),
        line(fields(experience("Doors.", type="doors"))),
        line(fields(other)),
    ]
    batch = read_batch(lines, first=101, types=("pumps", "valves"), now_ms=now)
    assert batch.records == (good, other)
    assert batch.not_held == 1
    assert [refusal.line for refusal in batch.refusals] == list(range(103, 116))
    for number, part in ((103, "'text' is not what"), (104, "'author' is not"), (105, "'id' is not"), (106, "not signed by")):
        assert part in next(refusal.reason for refusal in batch.refusals if refusal.line == number)
    assert batch.refusals[-1] == Refusal(115, "this node does not hold the type 'doors'; it holds pumps, valves")
    assert all("\n" not in refusal.reason for refusal in batch.refusals)
    done = batch.imported(1)
    assert (done.new, done.known, done.refused, done.not_held, len(done.refusals)) == (1, 1, 13, 1, MAX_REFUSALS)


@given(st.text() | st.dictionaries(st.sampled_from(["record", "text", "id"]), st.text() | st.none()).map(json.dumps))
def test_no_line_does_harm(text: str) -> None:
    with pytest.raises(EspeerError):
        read_line(text, now_ms=1)
