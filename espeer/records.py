"""Records: the signed, immutable, content-addressed unit of replication (pure).

A record's *body* is a msgpack map with fixed keys in byte order, every value in its shortest form; its id is the SHA-256 of
the body; its signature is Ed25519 (RFC 8032) over the id by the author's libp2p identity. On the wire and on disk a signed
record is the msgpack array ``[body, signature]``. There is one way to write a record and :func:`decode` refuses all others,
so equal records have equal ids everywhere.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import base58
import msgpack
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from espeer.errors import BadSignature, FromTheFuture, MalformedRecord, RecordTooLarge, UnknownVersion
from espeer.text import is_clean

VERSION: Final = 1
MAX_RECORD: Final = 8 * 1024
"""The most bytes an encoded signed record may have."""
MAX_TEXT: Final = 4 * 1024
"""The most UTF-8 bytes an experience's text may have."""
MAX_SOURCES: Final = 96
"""The most source ids a record may name."""
MAX_CLOCK_SKEW_MS: Final = 10 * 60 * 1000
"""How far ahead of our clock a record may claim to be."""
MAX_CREATED_MS: Final = 2**48
ID_SIZE: Final = 32
KEY_SIZE: Final = 32
METHODS: Final = ("distilled", "retried", "extractive", "condensed")
"""How a text came about: by the model at its first or second try, by extraction, or by refinement."""
MAX_KEYS: Final = 32
"""The most keys that a record of any version may have."""

_TYPE = re.compile(r"[a-z0-9-]{1,32}")
_MODEL = re.compile(r"[A-Za-z0-9._:+-]{1,64}")
_KEYS: Final = ("author", "created", "kind", "method", "model", "sources", "text", "type", "version")
_PUBLIC_KEY_PREFIX: Final = bytes.fromhex("002408011220")


@dataclass(frozen=True, slots=True)
class Experience:
    """A compact, reusable text distilled from an episode.

    :ivar type: topic type, ``[a-z0-9-]{1,32}``.
    :ivar text: what was learnt; clean text of at most :data:`MAX_TEXT` bytes.
    :ivar created: milliseconds since the Unix epoch, by the author's clock.
    :ivar author: the author's Ed25519 public key, 32 bytes.
    :ivar model: name of the model that was at work.
    :ivar method: one of :data:`METHODS`.
    :ivar sources: ids of the experiences that a condensate stands for.
    """

    type: str
    text: str
    created: int
    author: bytes
    model: str
    method: str
    sources: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Retraction:
    """An author's word that the experience ``target`` is not to be used any more."""

    type: str
    target: bytes
    created: int
    author: bytes


Record = Experience | Retraction


@dataclass(frozen=True)
class SignedRecord:
    """A record with the bytes its id and signature stand for."""

    record: Record
    body: bytes
    signature: bytes

    @cached_property
    def id(self) -> bytes:
        """SHA-256 of the body, 32 bytes."""
        return hashlib.sha256(self.body).digest()


def is_type(name: str) -> bool:
    """Whether ``name`` can name a topic type."""
    return _TYPE.fullmatch(name) is not None


def model_name(raw: str) -> str:
    """``raw`` made fit to stand in a record's ``model``."""
    return re.sub(r"[^A-Za-z0-9._:+-]+", "-", raw).strip("-")[:64] or "unknown"


def peer_id(author: bytes) -> str:
    """The libp2p peer id (base58) of an Ed25519 public key: the identity multihash of its protobuf (libp2p peer-ids spec)."""
    return base58.b58encode(_PUBLIC_KEY_PREFIX + author).decode()


def sign(record: Record, signer: Callable[[bytes], bytes]) -> SignedRecord:
    """Encode ``record`` and have ``signer`` sign its id (32 bytes in, 64 bytes out).

    :raises MalformedRecord, RecordTooLarge: the record breaks a rule that :func:`decode` would refuse it for.
    """
    _validate(record)
    body = _body(record)
    signed = SignedRecord(record, body, signer(hashlib.sha256(body).digest()))
    encode(signed)
    return signed


def encode(signed: SignedRecord) -> bytes:
    """The one byte form of a signed record.

    :raises RecordTooLarge: over :data:`MAX_RECORD` bytes.
    """
    data: bytes = msgpack.packb([signed.body, signed.signature])
    if len(data) > MAX_RECORD:
        raise RecordTooLarge(f"record has {len(data)} bytes, at most {MAX_RECORD} are allowed")
    return data


def decode(data: bytes, *, now_ms: int) -> SignedRecord:
    """Read and verify a signed record from anywhere.

    :param now_ms: our clock, milliseconds since the Unix epoch.
    :raises RecordTooLarge: over a size limit.
    :raises MalformedRecord: not the canonical form, or a field breaks its rule.
    :raises UnknownVersion: not of :data:`VERSION`.
    :raises BadSignature: the author did not sign this.
    :raises FromTheFuture: ``created`` is more than :data:`MAX_CLOCK_SKEW_MS` ahead of ``now_ms``.
    """
    signed = load(data)
    verify(signed, now_ms=now_ms)
    return signed


def verify(signed: SignedRecord, *, now_ms: int) -> None:
    """Check what :func:`load` leaves out.

    :raises BadSignature, FromTheFuture: as :func:`decode`.
    """
    record = signed.record
    try:
        VerifyKey(record.author).verify(signed.id, signed.signature)
    except (BadSignatureError, ValueError) as error:
        raise BadSignature(f"record is not signed by its author {peer_id(record.author)}") from error
    if record.created > now_ms + MAX_CLOCK_SKEW_MS:
        raise FromTheFuture(f"record is {(record.created - now_ms) // 1000} s ahead of our clock; check both clocks")


def load(data: bytes) -> SignedRecord:
    """Read a record that :func:`decode` took before, such as one from the own store.

    Signature and clock are not looked at; :func:`verify` does that.

    :raises RecordTooLarge, MalformedRecord: as :func:`decode`.
    """
    if len(data) > MAX_RECORD:
        raise RecordTooLarge(f"record has {len(data)} bytes, at most {MAX_RECORD} are allowed")
    match _unpack(data):
        case [bytes(body), bytes(signature)]:
            pass
        case _:
            raise MalformedRecord("not a record: expected [body, signature]")
    record = _record(_unpack(body))
    _validate(record)
    signed = SignedRecord(record, body, signature)
    if _body(record) != body or encode(signed) != data:
        raise MalformedRecord("record is not in canonical form")
    return signed


def _unpack(data: bytes) -> Any:
    try:
        return msgpack.unpackb(
            data,
            max_str_len=MAX_RECORD,
            max_bin_len=MAX_RECORD,
            max_array_len=MAX_SOURCES,
            max_map_len=MAX_KEYS,
            max_ext_len=0,
        )
    except (ValueError, msgpack.UnpackException) as error:
        raise MalformedRecord(f"not msgpack within the limits: {error}") from error


def _record(fields: Any) -> Record:
    if isinstance(fields, dict) and type(version := fields.get("version")) is int and version != VERSION:
        raise UnknownVersion(f"record is of version {version}; this espeer reads version {VERSION}")
    if not isinstance(fields, dict) or tuple(fields) != _KEYS:
        raise MalformedRecord("record does not have the fixed keys in order")
    for key, kind in (("author", bytes), ("created", int), ("version", int), ("sources", list)):
        if type(fields[key]) is not kind:
            raise MalformedRecord(f"record's {key} is not of its kind")
    for key in ("kind", "method", "model", "text", "type"):
        if type(fields[key]) is not str:
            raise MalformedRecord(f"record's {key} is not a string")
    if not all(type(source) is bytes for source in fields["sources"]):
        raise MalformedRecord("record's sources are not ids")
    sources = tuple(fields["sources"])
    common = {key: fields[key] for key in ("type", "created", "author")}
    match fields["kind"]:
        case "experience":
            return Experience(**common, text=fields["text"], model=fields["model"], method=fields["method"], sources=sources)
        case "retraction":
            if len(sources) != 1:
                raise MalformedRecord("a retraction names exactly one record")
            return Retraction(**common, target=sources[0])
        case _:
            raise MalformedRecord("record is of an unknown kind")


def _validate(record: Record) -> None:
    """What a field's bytes must hold; its type was checked by :func:`_record` or by mypy."""
    if not is_type(record.type):
        raise MalformedRecord("record's type is not [a-z0-9-]{1,32}")
    if not 0 <= record.created < MAX_CREATED_MS:
        raise MalformedRecord("record's created is not a time")
    if len(record.author) != KEY_SIZE:
        raise MalformedRecord("record's author is not an Ed25519 public key")
    if isinstance(record, Retraction):
        if len(record.target) != ID_SIZE:
            raise MalformedRecord("retraction's target is not an id")
        return
    try:
        size = len(record.text.encode())
    except UnicodeEncodeError as error:
        raise MalformedRecord("experience's text is not UTF-8") from error
    if size > MAX_TEXT:
        raise RecordTooLarge(f"experience's text has {size} bytes, at most {MAX_TEXT} are allowed")
    if not is_clean(record.text):
        raise MalformedRecord("experience's text is empty or holds control characters")
    if _MODEL.fullmatch(record.model) is None:
        raise MalformedRecord("experience's model is not a model name")
    if record.method not in METHODS:
        raise MalformedRecord("experience's method is unknown")
    if len(record.sources) > MAX_SOURCES or any(len(source) != ID_SIZE for source in record.sources):
        raise MalformedRecord(f"experience's sources are not at most {MAX_SOURCES} ids")


def _body(record: Record) -> bytes:
    is_experience = isinstance(record, Experience)
    values = {
        "author": record.author,
        "created": record.created,
        "kind": "experience" if is_experience else "retraction",
        "method": record.method if isinstance(record, Experience) else "",
        "model": record.model if isinstance(record, Experience) else "",
        "sources": list(record.sources) if isinstance(record, Experience) else [record.target],
        "text": record.text if isinstance(record, Experience) else "",
        "type": record.type,
        "version": VERSION,
    }
    body: bytes = msgpack.packb({key: values[key] for key in _KEYS})
    return body
