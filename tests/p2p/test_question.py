import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from replicas import identity, now_ms, record, records

from espeer.errors import BadSignature, NetworkError, ProtocolError
from espeer.p2p.door import Found
from espeer.p2p.question import (
    BUSY,
    MAX_K,
    MAX_QUERY,
    MAX_REPLY,
    MAX_TYPES,
    NOT_HELD,
    Question,
    clipped,
    decode_question,
    decode_reply,
    encode_question,
    encode_reply,
)
from espeer.p2p.wire import pack
from espeer.records import MAX_RECORD, Experience, Retraction, encode, sign

QUESTION = Question("which fuse", ("biology",), 3)
names = st.from_regex(r"\A[a-z0-9-]{1,32}\Z")


def reply(*hits: Any) -> bytes:
    return pack(["hits", list(hits)])


def read(data: bytes) -> list[Any]:
    return decode_reply(data, QUESTION, peer_id="12D3", now_ms=now_ms())


@given(st.text(max_size=MAX_QUERY), st.lists(names, min_size=1, max_size=MAX_TYPES), st.integers(1, MAX_K))
def test_a_question_arrives_as_it_was_asked(query: str, types: list[str], k: int) -> None:
    question = Question(clipped(query), tuple(types), k)
    assert decode_question(encode_question(question)) == question


@given(st.text(alphabet="aé€😀", min_size=1, max_size=3 * MAX_QUERY))
def test_a_long_query_is_asked_by_its_beginning(query: str) -> None:
    short = clipped(query)
    assert query.startswith(short)
    assert len(short.encode()) <= MAX_QUERY
    assert short == query or len(short.encode()) > MAX_QUERY - 4


@pytest.mark.parametrize(
    "said",
    [
        [],
        ["recall"],
        ["recall", "why", ["biology"]],
        ["recall", b"why", ["biology"], 3],
        ["recall", "why", "biology", 3],
        ["recall", "why", ["Biology"], 3],
        ["recall", "why", [b"biology"], 3],
        ["recall", "why", [], 3],
        ["recall", "why", ["biology"], 0],
        ["recall", "why", ["biology"], MAX_K + 1],
        ["recall", "why", ["biology"], True],
        ["recall", "why", ["biology"], 3.0],
        ["recall", "x" * (MAX_QUERY + 1), ["biology"], 3],
        ["recall", "why", ["t"] * (MAX_TYPES + 1), 3],
        ["ask", "why", ["biology"], 3],
    ],
)
def test_what_is_no_question_is_refused(said: Any) -> None:
    with pytest.raises(ProtocolError):
        decode_question(pack(said))


@given(st.binary(max_size=200))
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_question(data)
    with pytest.raises((ProtocolError, NetworkError)):
        read(data)


def test_a_reply_arrives_in_its_order() -> None:
    held = records(3)
    told = read(encode_reply([Found(signed, 3.0 - rank) for rank, signed in enumerate(held)]))
    assert [one.id for one in told] == [signed.id for signed in held]
    assert [(one.rank, one.score, one.peer_id) for one in told] == [(0, 3.0, "12D3"), (1, 2.0, "12D3"), (2, 1.0, "12D3")]


def test_scores_may_be_written_as_integers() -> None:
    (told,) = read(reply([encode(record(1)), 2]))
    assert told.score == 2.0


def test_the_largest_reply_fits_a_frame() -> None:
    author = identity(7)
    long = [
        sign(Experience("biology", "x" * 4096, number, author.public, "m" * 64, "condensed", (b"s" * 32,) * 96), author.sign)
        for number in range(MAX_K)
    ]
    data = encode_reply([Found(signed, math.pi) for signed in long])
    assert len(data) <= MAX_REPLY
    assert MAX_K * MAX_RECORD < MAX_REPLY
    assert len(decode_reply(data, Question("why", ("biology",), MAX_K), peer_id="p", now_ms=now_ms())) == MAX_K


def test_a_peer_may_say_that_it_cannot_answer() -> None:
    for data in (BUSY, NOT_HELD):
        with pytest.raises(NetworkError) as caught:
            read(data)
        assert not isinstance(caught.value, ProtocolError), "nobody is blamed for it"


def retraction() -> bytes:
    author = identity(7)
    return encode(sign(Retraction("biology", b"t" * 32, now_ms(), author.public), author.sign))


def test_lies_are_refused() -> None:
    good = encode(record(1))
    for lie in (
        reply([good, 1.0], [good, 0.5]),
        reply(*([encode(signed), 1.0] for signed in records(QUESTION.k + 1))),
        reply([encode(record(1, kind="networking")), 1.0]),
        reply([retraction(), 1.0]),
        reply([good, math.nan]),
        reply([good, math.inf]),
        reply([good, True]),
        reply([good, "1"]),
        reply([good]),
        reply(good),
        pack(["hits"]),
        pack(["hits", []])[:-1],
        pack(["idle"]),
    ):
        with pytest.raises(ProtocolError):
            read(lie)
    with pytest.raises(BadSignature):
        read(reply([good[:-1] + bytes([good[-1] ^ 1]), 1.0]))


def test_what_our_clock_says_is_from_the_future_is_passed_over() -> None:
    later, now = record(1, created=now_ms() + 3_600_000), record(2)
    (told,) = read(encode_reply([Found(later, 2.0), Found(now, 1.0)]))
    assert (told.id, told.rank) == (now.id, 1)
