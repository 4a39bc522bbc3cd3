"""What is said in a recall from another node: one question, one reply (pure)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from espeer import records
from espeer.errors import FromTheFuture, NetworkError, ProtocolError, UnknownVersion
from espeer.p2p.door import Found
from espeer.p2p.wire import pack, unpack
from espeer.records import MAX_RECORD, Experience, is_type

MAX_QUERY: Final = 4096
"""The most UTF-8 bytes of a query; a longer one is asked by its beginning."""
MAX_K: Final = 16
"""The most experiences in a reply."""
MAX_TYPES: Final = 64
"""The most types that one question may be about."""
MAX_REPLY: Final = MAX_K * (MAX_RECORD + 16) + 64
"""The most bytes of a frame of this protocol."""

BUSY: Final = pack(["busy"])
"""The reply to a peer that asks too much."""
NOT_HELD: Final = pack(["not held"])
"""The reply where none of the types is held."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a peer.

    :ivar types: of these types, as far as the peer holds them.
    :ivar k: how many experiences, at most.
    """

    query: str
    types: tuple[str, ...]
    k: int


@dataclass(frozen=True, slots=True)
class Told:
    """An experience that a peer told us.

    :ivar rank: its place in the peer's reply, from 0.
    :ivar score: by the peer's own index.
    """

    id: bytes
    experience: Experience
    peer_id: str
    rank: int
    score: float


def encode_question(question: Question) -> bytes:
    """A question as a frame's payload."""
    return pack(["recall", question.query, list(question.types), question.k])


def decode_question(data: bytes) -> Question:
    """Read a question.

    :raises ProtocolError: it is none, or over a limit.
    """
    match unpack(data, max_str=MAX_QUERY):
        case ["recall", str(query), list(types), k] if type(k) is int and 1 <= k <= MAX_K and 1 <= len(types) <= MAX_TYPES:
            if not all(type(name) is str and is_type(name) for name in types):
                raise ProtocolError("the peer asks about types that are none")
            return Question(query, tuple(types), k)
        case _:
            raise ProtocolError("the peer sent something else than a question")


def encode_reply(found: Sequence[Found]) -> bytes:
    """A reply as a frame's payload."""
    return pack(["hits", [[records.encode(one.signed), one.score] for one in found]])


def decode_reply(data: bytes, question: Question, *, peer_id: str, now_ms: int) -> list[Told]:
    """Read and verify a reply. What only a wrong clock or an old espeer keeps us from reading is passed over.

    :raises NetworkError: the peer says that it cannot answer.
    :raises ProtocolError: it is no reply to that question.
    :raises RecordError: a record in it is refused.
    """
    match unpack(data):
        case ["hits", list(hits)] if len(hits) <= question.k:
            told = [_told(hit, question, peer_id, rank, now_ms) for rank, hit in enumerate(hits)]
        case [str(reason)] if reason in {"busy", "not held"}:
            raise NetworkError(f"peer {peer_id} does not answer: {reason}")
        case _:
            raise ProtocolError("the peer sent something else than a reply to the question")
    read = [one for one in told if one is not None]
    if len({one.id for one in read}) != len(read):
        raise ProtocolError("the peer sent the same experience twice")
    return read


def _told(hit: Any, question: Question, peer_id: str, rank: int, now_ms: int) -> Told | None:
    match hit:
        case [bytes(data), int() | float() as score] if type(score) is not bool and math.isfinite(score):
            pass
        case _:
            raise ProtocolError("the peer sent something else than an experience and its score")
    try:
        signed = records.decode(data, now_ms=now_ms)
    except (FromTheFuture, UnknownVersion):
        return None
    if not isinstance(signed.record, Experience) or signed.record.type not in question.types:
        raise ProtocolError("the peer sent something else than experiences of the types it was asked about")
    return Told(signed.id, signed.record, peer_id, rank, float(score))


def clipped(query: str) -> str:
    """As much of the beginning of a query as may be asked."""
    return query.encode()[:MAX_QUERY].decode(errors="ignore")
