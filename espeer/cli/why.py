"""`espeer why`: what an answer rests on, and what came of it."""

from typing import Any, Final

from rich.markup import escape

from espeer.api.client import request
from espeer.cli import experiences
from espeer.cli.options import DEFAULT_TARGET, Target
from espeer.cli.show import console, print_json, short, when
from espeer.text import visible

_SHOWN: Final = 12  # digits of an id that the other commands show


def why(what: str, /, *, target: Target = DEFAULT_TARGET) -> None:
    """Tell what an answer rests on and what was learnt from it, or where an experience stands, as `espeer experiences why`.

    Example: espeer why 7

    :param what: the number that `espeer ask` printed; or an experience's id, or its beginning. Digits alone are an answer's
        number if they are fewer than 12.
    """
    if not (what.isascii() and what.isdecimal() and len(what) < _SHOWN):
        experiences.why(what, target=target)
        return
    found = request(target.data, "answer", {"answer": int(what)})
    if target.json:
        print_json(found)
        return
    console.print(f"answer {found['id']}, {when(found['created'])}")
    console.print(f"question: {escape(found['question'])}")
    console.print(f"answer: {escape(visible(found['answer']))}")
    if found["feedback"] or found["good"] is not None:
        rated = {True: "good", False: "bad", None: ""}[found["good"]]
        console.print("feedback: " + escape(": ".join(filter(None, (rated, found["feedback"])))))
    for used in found["experiences"]:
        _print_used("used", used)
    if not found["experiences"]:
        console.print("no experience stood in its prompt")
    if found["learnt"]:
        _print_used("learnt from it", found["learnt"])


def _print_used(what: str, used: dict[str, Any]) -> None:
    if used["state"] is None:
        console.print(f"{what} {used['id'][:_SHOWN]}: told by another node, and not kept here")
        return
    author = f", learnt by {short(used['author'])}" if used["text"] else ""
    console.print(f"{what} {used['id'][:_SHOWN]} ({used['state']}{author}): {experiences.text_of(used)}")
    if used["by"]:
        console.print(f"  superseded since by {used['by']['id'][:_SHOWN]}: {experiences.text_of(used['by'])}")
