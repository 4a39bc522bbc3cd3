"""Records as lines of JSON, to carry them from one node's replica to another's in a file (pure).

A line has a record's fields, for people and programs to read, and under ``record`` the signed bytes themselves (base64). Only
those are taken in, as from the network; that the fields say the same is checked, so that what was read is what is taken.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from espeer.errors import EspeerError, InputError
from espeer.records import Experience, SignedRecord, decode, encode, peer_id

MAX_LINE: Final = 32 * 1024
"""The most bytes of a line. The longest that is exported has some 27,000."""
MAX_PAGE: Final = 200
"""The most records of a page."""
MAX_REFUSALS: Final = 10
"""Of so many refused lines of a batch the reasons are told."""


@dataclass(frozen=True, slots=True)
class ExportPage:
    """A part of an export.

    :ivar records: in the order in which they came to the node.
    :ivar next: where the next page begins; None if this is the last.
    """

    records: tuple[SignedRecord, ...]
    next: int | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a line was not taken; lines are counted from 1."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of the lines of a batch; empty ones are not counted.

    :ivar new: records that were not known before.
    :ivar known: records that were there already.
    :ivar refused: lines that were not taken.
    :ivar not_held: how many of these were sound, but of a type that is not held here.
    :ivar refusals: the first :data:`MAX_REFUSALS` of them.
    """

    new: int
    known: int
    refused: int
    not_held: int
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """The lines of an import, read and verified.

    :ivar records: those that may be taken.
    :ivar refusals: all that may not.
    :ivar not_held: how many of these are of a type that is not held.
    """

    records: tuple[SignedRecord, ...]
    refusals: tuple[Refusal, ...]
    not_held: int

    def imported(self, new: int) -> Imported:
        """Return what became of the batch when so many of its records were new."""
        refused = len(self.refusals)
        return Imported(new, len(self.records) - new, refused, self.not_held, self.refusals[:MAX_REFUSALS])


def fields(signed: SignedRecord) -> dict[str, Any]:
    """Return what a line says of a record, with the record itself."""
    record = signed.record
    common = {"id": signed.id.hex(), "type": record.type, "author": peer_id(record.author), "created": record.created}
    told: dict[str, Any]
    if isinstance(record, Experience):
        sources = [source.hex() for source in record.sources]
        told = {"kind": "experience", "text": record.text, "model": record.model, "method": record.method, "sources": sources}
    else:
        told = {"kind": "retraction", "target": record.target.hex()}
    return common | told | {"record": base64.b64encode(encode(signed)).decode()}


def line(told: dict[str, Any]) -> str:
    """Return :func:`fields` as a line, its line feed included."""
    return json.dumps(told, ensure_ascii=False) + "\n"


def read_batch(lines: Iterable[str], *, first: int, types: Sequence[str], now_ms: int) -> Batch:
    """Read and verify lines.

    :param first: the number of the first line.
    :param types: the topic types that are held.
    :param now_ms: our clock, milliseconds since the Unix epoch.
    """
    taken, refusals, not_held = [], [], 0
    for number, text in enumerate(lines, first):
        if not text.strip():
            continue
        try:
            signed = read_line(text, now_ms=now_ms)
        except EspeerError as error:
            refusals.append(Refusal(number, str(error)))
            continue
        if signed.record.type in types:
            taken.append(signed)
        else:
            not_held += 1
            reason = f"this node does not hold the type {signed.record.type!r}; it holds {', '.join(types)}"
            refusals.append(Refusal(number, reason))
    return Batch(tuple(taken), tuple(refusals), not_held)


def read_line(text: str, *, now_ms: int) -> SignedRecord:
    """Read a line and verify its record.

    :raises InputError: it is not such a line, or says something else than its record.
    :raises RecordError: as :func:`espeer.records.decode`.
    """
    if len(text) > MAX_LINE or len(text.encode(errors="surrogatepass")) > MAX_LINE:
        raise InputError(f"the line is too long: more than {MAX_LINE:,} bytes")
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError("not JSON") from error
    if not isinstance(told, dict) or not isinstance(told.get("record"), str):
        raise InputError("not a record as `espeer export` writes it: an object with the signed bytes under 'record'")
    try:
        data = base64.b64decode(told["record"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError("'record' is not base64") from error
    signed = decode(data, now_ms=now_ms)
    for name, value in fields(signed).items():
        if name in told and told[name] != value:
            raise InputError(f"its {name!r} is not what the author signed")
    return signed
