"""What a model costs on a machine: measured once, and played back on a virtual clock (pure)."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from itertools import pairwise
from typing import Any, Final

from espeer.errors import ConfigError

FORM: Final = 1
"""Version of the JSON form."""
SHIPPED: Final = "smollm2-135m.json"
"""The profile of the default model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A model's costs with so many threads.

    :ivar model: its name; ``machine`` what it was measured on.
    :ivar load_s: seconds to load it.
    :ivar evaluate_ms: (tokens, milliseconds) of one evaluation, of few tokens and of many: an answer's next token is one of 1.
    :ivar restore_ms: milliseconds to put back the state of an experience, or of a prompt's beginning, that was kept.
    :ivar answer_ms: milliseconds of an answer that are not the model's: recall, packing, tokenising.
    :ivar answer_tokens: of an answer.
    :ivar lesson_tokens: that are decoded for a distillation, or a condensation, all tries together.
    :ivar step: the most tokens of one evaluation; ``context`` of a prompt with its answer.
    :ivar characters_per_token: of English prompts.
    :ivar bytes_per_token: of a state.
    :ivar tasks_ms: milliseconds of whole tasks, as measured (median); they are not used, but show what the above comes to.
    """

    model: str
    machine: str
    threads: int
    load_s: float
    evaluate_ms: tuple[tuple[int, float], ...]
    restore_ms: float
    answer_ms: float
    answer_tokens: int
    lesson_tokens: int
    step: int
    context: int
    characters_per_token: float
    bytes_per_token: int
    tasks_ms: Mapping[str, float] = field(default_factory=dict)

    def seconds(self, tokens: int) -> float:
        """Return how long one evaluation of so many tokens takes: on the line between the measured ones beside it."""
        if tokens <= 0:
            return 0.0
        (few, least), *_ = self.evaluate_ms
        if tokens <= few:
            return least / 1000
        below, above = next(
            (pair for pair in pairwise(self.evaluate_ms) if tokens <= pair[1][0]), (self.evaluate_ms[-2], self.evaluate_ms[-1])
        )
        slope = (above[1] - below[1]) / (above[0] - below[0])
        return (below[1] + slope * (tokens - below[0])) / 1000

    def tokens(self, text: str) -> int:
        """Return about how many tokens a text has."""
        return round(len(text) / self.characters_per_token) if text else 0

    def as_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"form": FORM, **asdict(self)}

    def as_text(self) -> str:
        """Return what a file of it holds."""
        return json.dumps(self.as_json(), indent=1) + "\n"


def parse(document: str) -> Profile:
    """Read a profile.

    :raises ConfigError: it is none.
    """
    try:
        return read(json.loads(document))
    except ValueError as error:
        raise ConfigError(f"not a profile: {error}; make one with: espeer model bench --profile FILE") from error


def read(form: Mapping[str, Any]) -> Profile:
    """Read a profile's JSON form.

    :raises ConfigError: it is none.
    """
    try:
        table = dict(form)
        if table.pop("form") != FORM or table.keys() != {one.name for one in fields(Profile)}:
            raise ConfigError("not a profile, or one of another espeer; make one with: espeer model bench --profile FILE")
        points = tuple((int(tokens), float(cost)) for tokens, cost in table.pop("evaluate_ms"))
        profile = Profile(evaluate_ms=points, **table)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ConfigError(f"not a profile: {error}; make one with: espeer model bench --profile FILE") from error
    sizes = [tokens for tokens, _ in profile.evaluate_ms]
    if len(sizes) < 2 or sizes != sorted(set(sizes)) or any(cost <= 0 for _, cost in profile.evaluate_ms):  # noqa: PLR2004
        raise ConfigError("evaluate_ms of a profile holds two or more sizes in order, each with its milliseconds")
    return profile


def shipped() -> Profile:
    """Return the profile of the default model that comes with espeer."""
    return parse(resources.files("espeer.sim.virtual").joinpath(SHIPPED).read_text(encoding="utf-8"))
