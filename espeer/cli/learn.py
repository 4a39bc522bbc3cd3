"""`espeer learn`."""

import json
from collections.abc import Iterator
from pathlib import Path

from espeer.api.client import request
from espeer.cli.ask import read_text
from espeer.cli.options import DEFAULT_TARGET, Target
from espeer.cli.show import console, print_json
from espeer.errors import InputError
from espeer.text import MAX_INPUT, clean

_FIELDS = frozenset({"text", "response", "feedback", "type"})


def learn(
    text: str = "",
    /,
    *,
    response: str = "",
    feedback: str = "",
    type: str = "",
    file: Path | None = None,
    wait: bool = False,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Have the node learn from something that happened; "-" reads the text from standard input.

    Example: espeer learn "Kestrel-3 stops with J18 after a cold start." --feedback "Setting the idler gap to 4 mm cured it."

    :param text: what was seen, asked or told.
    :param response: what was answered or tried.
    :param feedback: what came of it: this is what others profit from most.
    :param type: its topic type; by default the model decides.
    :param file: learn from each line of this file instead: JSON with text and, if you like, response, feedback, type.
    :param wait: return when the experience is there, instead of as soon as it is safe on disk.
    """
    if bool(text) == bool(file):
        raise InputError("give a text or --file, one of the two")
    data = target.data
    if file:
        items = list(_items(file, request(data, "status")["types"]))
        learnt = [request(data, "learn", item) for item in items]
        if wait:
            request(data, "flush")
    else:
        item = {"text": read_text(text), "response": response, "feedback": feedback, "type": type}
        learnt = [request(data, "learn", item | {"wait": wait})]
    if target.json:
        print_json(learnt if file else learnt[0])
    elif wait and not file:
        made = learnt[0]["experience"]
        console.print(f"learnt as {made[:12]}" if made else "noted, but not distilled yet; the node's log says why")
    else:
        console.print(f"noted {len(learnt)}" + ("" if wait else "; distilled soon, `espeer status` shows how many wait"))


def _items(file: Path, held: list[str]) -> Iterator[dict[str, str]]:
    """Check the whole file before anything of it is learnt."""
    try:
        lines = file.read_text(encoding="utf-8").split("\n")  # not at U+2028 and its like, which JSON lets stand in a string
    except (OSError, UnicodeError) as error:
        raise InputError(f"cannot read {file}: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{file}, line {number}: not JSON ({error})") from error
        if not isinstance(item, dict) or "text" not in item or not item.keys() <= _FIELDS:
            raise InputError(f"{file}, line {number}: expected an object with text and, if you like, response, feedback, type")
        if not all(isinstance(value, str) for value in item.values()):
            raise InputError(f"{file}, line {number}: every value must be a string")
        _check(item, held, f"{file}, line {number}")
        yield item


def _check(item: dict[str, str], held: list[str], where: str) -> None:
    """Refuse what the node would refuse, before anything of the file is learnt."""
    for key, value in item.items():
        try:
            if key == "text" or (key != "type" and value):
                clean(value, limit=MAX_INPUT, what=f"the {key}")
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
    if item.get("type") and item["type"] not in held:
        raise InputError(f"{where}: this node does not hold the type {item['type']!r}; it holds {', '.join(held)}")
