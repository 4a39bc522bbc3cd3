"""The demo's incidents, and who learns which."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

AREAS: Final = ("hydraulics", "electrical", "controls")
NOBODY: Final = "nobody"


@dataclass(frozen=True, slots=True)
class Incident:
    """A fault of an invented machine, what cured it, and a question about it in other words."""

    id: str
    area: str
    report: str
    attempt: str
    cure: str
    question: str
    choices: tuple[str, ...]
    answer: int


def load() -> list[Incident]:
    """Read the incidents that ship with espeer."""
    text = files("espeer.demo").joinpath("incidents.json").read_text(encoding="utf-8")
    return [Incident(**item | {"choices": tuple(item["choices"])}) for item in json.loads(text)]


def shared_out(incidents: Sequence[Incident], learners: Sequence[str], each: int) -> dict[str, list[Incident]]:
    """Give each learner a block of incidents, and :data:`NOBODY` the last one: what C cannot know from its peers."""
    block = len(incidents) // (len(learners) + 1)
    return {name: list(incidents[n * block :][: min(each, block)]) for n, name in enumerate((*learners, NOBODY))}
