"""Commands that carry records: `espeer export`, `import` and `retract`."""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Final

from espeer import ownfile
from espeer.api.client import MAX_REQUEST, request
from espeer.cli.options import DEFAULT_TARGET, Target
from espeer.cli.show import console, print_json
from espeer.errors import InputError
from espeer.transfer import MAX_LINE, MAX_REFUSALS, line

_ROOM: Final = MAX_REQUEST - 1024  # of a request, for its lines
_COUNTS: Final = ("new", "known", "refused", "not_held")


def retract(id: str, /, *, target: Target = DEFAULT_TARGET) -> None:
    """Take back an experience that this node learnt: every node that hears of it recalls it no more.

    Example: espeer retract 4f2a

    :param id: the id, or as much of its beginning as tells it from the others.
    """
    found = request(target.data, "retract", {"id": id})
    if target.json:
        print_json(found)
    else:
        console.print(f"retracted {found['experience'][:12]}; other nodes hear of it, by gossip or at their next sync")


def export(
    file: Path = Path("-"),
    /,
    *,
    type: str | None = None,
    own: bool = False,
    condensates: bool = False,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Write the node's records to a file, one line of JSON each; "-" writes them to standard output.

    A line has what a record says, and the signed bytes themselves, so that it keeps its author wherever it is imported.
    What was retracted is left out, the retractions are not.

    Example: espeer export pumps.jsonl --type pumps

    :param file: is made when all is there, readable by its user alone; it must not exist before.
    :param type: only this topic type.
    :param own: only what this node learnt.
    :param condensates: with what refining made here. It stays on this node otherwise; where it is imported it is shared.
    """
    params = {"type": type, "own": own, "condensates": condensates}
    if file == Path("-"):
        _write_all(sys.stdout.buffer, target.data, params)
        return
    try:
        with ownfile.new(file) as out:
            counted = _write_all(out, target.data, params)
    except FileExistsError as error:
        raise InputError(f"{file} is there already; choose another name, or remove it") from error
    except OSError as error:
        raise InputError(f"cannot write {file}: {error.strerror}") from error
    if target.json:
        print_json({"records": counted})
    else:
        console.print(f"exported {_records(counted)} to {file}")


def import_(file: Path, /, *, target: Target = DEFAULT_TARGET) -> None:
    """Take in records that `espeer export` wrote; "-" reads them from standard input.

    Each is verified as if it came from the network. What is not sound, or of a type that the node does not hold, is refused;
    what is there already is passed over, so importing again does nothing. Ends with exit code 1 where all is refused.

    Example: espeer import pumps.jsonl

    :param file: the file.
    """
    total: dict[str, Any] = dict.fromkeys(_COUNTS, 0) | {"refusals": []}
    with ExitStack() as stack:
        source = sys.stdin.buffer if file == Path("-") else stack.enter_context(_opened(file))
        for first, lines in _batches(source):
            done = request(target.data, "import", {"lines": lines, "first": first})
            for name in _COUNTS:
                total[name] += done[name]
            total["refusals"] = (total["refusals"] + done["refusals"])[:MAX_REFUSALS]
    if target.json:
        print_json(total)
    else:
        _print_imported(total)
    if total["refused"] and not total["new"] + total["known"]:
        raise InputError("nothing could be imported")


def _write_all(out: IO[bytes], data: Path, params: dict[str, Any]) -> int:
    counted, after = 0, 0
    while after is not None:
        page = request(data, "export", params | {"after": after})
        out.write("".join(map(line, page["records"])).encode())
        counted += len(page["records"])
        after = page["next"]
    out.flush()
    return counted


def _print_imported(total: dict[str, Any]) -> None:
    console.print(f"{_records(total['new'])} imported, {total['known']} known already, {total['refused']} refused")
    for refusal in total["refusals"]:
        console.print(f"  line {refusal['line']}: {refusal['reason']}", markup=False)
    if (further := total["refused"] - len(total["refusals"])) > 0:
        console.print(f"  and {further} more")
    if total["not_held"]:
        console.print(f"  of these {total['not_held']} are of types that this node does not hold; see `espeer node --type`")


def _batches(source: IO[bytes]) -> Iterator[tuple[int, list[str]]]:
    """Give as many lines at a time as go into a request, with the number of the first."""
    lines: list[str] = []
    first, size = 1, 0
    for number, text in enumerate(_lines(source), 1):
        needed = len(json.dumps(text, ensure_ascii=False).encode()) + 2
        if lines and size + needed > _ROOM:
            yield first, lines
            lines, first, size = [], number, 0
        lines.append(text)
        size += needed
    if lines:
        yield first, lines


def _lines(source: IO[bytes]) -> Iterator[str]:
    """Give the lines. Of one that is too long, or not UTF-8, something comes that is refused."""
    while text := source.readline(MAX_LINE + 2):
        yield text.decode(errors="replace").rstrip("\r\n")
        while not text.endswith(b"\n") and text:
            text = source.readline(MAX_LINE)


def _opened(file: Path) -> IO[bytes]:
    try:
        return file.open("rb")
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error


def _records(count: int) -> str:
    return "1 record" if count == 1 else f"{count:,} records"
