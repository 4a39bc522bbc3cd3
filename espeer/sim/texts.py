"""Things to learn that are all different and mean nothing: what scenarios have nodes learn (pure)."""

import random
from dataclasses import dataclass
from typing import Final

_MACHINES: Final = ("press", "labeller", "oven", "conveyor", "chiller", "palletiser", "mixer", "filler", "saw", "kiln")
_SIGNS: Final = ("stops", "hums", "shakes", "overheats", "jams", "slows down", "leaks", "trips its breaker")
_WHEN: Final = ("after a cold start", "under full load", "in the night shift", "with thin material", "after cleaning")
_CURES: Final = ("Tightening the guide", "Replacing the seal", "Lowering the feed", "Purging the line", "Raising the gap")


@dataclass(frozen=True, slots=True)
class Report:
    """Something that happened, and what cured it."""

    text: str
    feedback: str


def report(number: int, seed: int) -> Report:
    """Return the report of that number; another number or seed gives another one."""
    rng = random.Random(f"{seed} {number}")  # noqa: S311 - only words are chosen
    machine, sign, when, cure = (rng.choice(words) for words in (_MACHINES, _SIGNS, _WHEN, _CURES))
    code = f"{rng.choice('ABCDEFGHJKLM')}{number}"
    text = f"The {machine} of line {rng.randrange(1, 100)} {sign} with {code} {when}."
    return Report(text, f"{cure} to {rng.randrange(1, 500)} mm cured {code}.")
