"""How results look on a terminal."""

import json
import sys
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_CUT_OFF = {
    "length": "cut off: --max-tokens",
    "loop": "cut off: it said the same again and again",
    "time": "cut off: out of time",
}
_WIDE = 1000  # lines that go into a pipe are not folded
_on_terminal = sys.stdout is not None and sys.stdout.isatty()  # there is none with `>&-`
console = Console(highlight=False, emoji=False, soft_wrap=True, width=None if _on_terminal else _WIDE)


def print_json(value: Any) -> None:
    """Print one line of JSON."""
    print(json.dumps(value, ensure_ascii=False))  # noqa: T201 - what --json asked for


def short(name: str) -> str:
    """Shorten a peer id to the part that differs."""
    return f"…{name[-8:]}"


def when(ms: int) -> str:
    """Show milliseconds since the Unix epoch as local time."""
    return datetime.fromtimestamp(ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def table(*columns: str) -> Table:
    """Begin a table in the house style."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def print_unfolded(made: Table) -> None:
    """Print a table whose cells are to be copied, such as addresses: the terminal wraps its lines, nothing is cut in two."""
    Console(highlight=False, emoji=False, soft_wrap=True, width=_WIDE).print(made)


def print_experiences(found: list[dict[str, Any]], *, scored: bool = False) -> None:
    """Print a table of experiences, or that there are none."""
    if not found:
        console.print("no experiences")
        return
    made = table("id", "type", "author", *(["score"] if scored else ["created"]), "experience")
    for item in found:
        extra = f"{item['score']:.2f}" if scored else when(item["created"])
        made.add_row(item["id"][:12], item["type"], short(item["author"]), extra, escape(item["text"]))
    console.print(made)


def print_sources(answer: dict[str, Any]) -> None:
    """Print what an answer rests on, below it."""
    for used in answer["experiences"]:
        told = f", told by {short(used['peer'])}" if used["peer"] else ""
        line = f"  · {used['text']} — learnt by {short(used['author'])}, {used['id'][:12]}{told}"
        console.print(escape(line), style="dim")
    facts = ["not kept" if answer["id"] is None else f"answer {answer['id']}"]
    if answer["confidence"] is not None:
        facts.append(f"confidence {answer['confidence']:.2f}")
    facts.append(f"first token {answer['ttft_ms']:.0f} ms")
    if answer["finish"] in _CUT_OFF:
        facts.append(_CUT_OFF[answer["finish"]])
    if answer["unreached"]:
        facts.append(f"nobody who holds {', '.join(answer['unreached'])} answered")
    elif not answer["experiences"]:
        facts.append("no experience fitted")
    console.print("  " + " · ".join(facts), style="dim")
