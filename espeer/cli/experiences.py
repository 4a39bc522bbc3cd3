"""`espeer experiences list|show|why`."""

from typing import Any

from cyclopts import App
from rich.markup import escape

from espeer.api.client import request
from espeer.cli.options import DEFAULT_TARGET, Target, Whole
from espeer.cli.show import console, print_experiences, print_json, table, when

app = App(name="experiences", help="Look at the experiences that the node holds.")


@app.command(name="list")
def list_(*, type: str | None = None, limit: Whole = 20, target: Target = DEFAULT_TARGET) -> None:
    """List the newest experiences, newest first.

    Example: espeer experiences list --type pumps --limit 5

    :param type: only this topic type.
    :param limit: how many, at most.
    """
    found = request(target.data, "experiences", {"type": type, "limit": limit})
    if target.json:
        print_json(found)
    else:
        print_experiences(found)


@app.command
def show(id: str, /, *, target: Target = DEFAULT_TARGET) -> None:
    """Show one experience with all that is known about it.

    Example: espeer experiences show 4f2a

    :param id: the id, or as much of its beginning as tells it from the others.
    """
    found = request(target.data, "experience", {"id": id})
    if target.json:
        print_json(found)
        return
    made = table("", "")
    made.show_header = False
    for key, value in found.items():
        shown = when(value) if key == "created" else ", ".join(value) if isinstance(value, list) else str(value or "")
        made.add_row(key, escape(shown))
    console.print(made)


@app.command
def why(id: str, /, *, target: Target = DEFAULT_TARGET) -> None:
    """Tell where an experience stands: what it was made of, what it stands for, what stands for it.

    Example: espeer experiences why 4f2a

    :param id: the id, or as much of its beginning as tells it from the others.
    """
    found = request(target.data, "why", {"id": id})
    if target.json:
        print_json(found)
        return
    console.print(f"{found['id'][:12]} is {found['state']}, {_came(found)}")
    console.print(f"  {text_of(found)}")
    made_of = {source["id"] for source in found["sources"]}
    for what, others in (
        ("stood for by", [found["by"]] if found["by"] else []),
        ("made of", found["sources"]),
        ("stands for", [other for other in found["stands_for"] if other["id"] not in made_of]),
    ):
        for other in others:
            console.print(f"{what} {other['id'][:12]} ({other['state']}): {text_of(other)}")
    for step in found["steps"]:
        undone = ", undone since" if step["undone"] else ""
        change = f"{step['before']} → {step['after']}" if step["before"] else "made"
        console.print(f"run {step['run']}: {change}{undone}", style="dim")


def _came(found: dict[str, Any]) -> str:
    if found["via"] == "refined":
        return f"a condensate of {len(found['sources'])} ({found.get('method', 'its text was deleted')})"
    return f"came by {found['via']}" if found["via"] != "own" else "learnt here"


def text_of(found: dict[str, Any]) -> str:
    """Return an experience's text, or that it is gone, for the terminal."""
    return escape(found["text"] or "its text was deleted: there was no room for it")
