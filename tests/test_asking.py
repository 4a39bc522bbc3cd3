"""Options of a question, and their bounds."""

import math
from typing import Any

import pytest

from espeer.asking import MAX_SEED, MAX_STOP, AskOptions
from espeer.errors import InputError


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"max_tokens": 0}, "max-tokens is 0; give 1 to 1,000,000"),
        ({"max_tokens": 1_000_001}, "max-tokens is 1000001; give 1 to 1,000,000"),
        ({"temperature": -0.1}, r"temperature is -0.1; give 0 \(always the likeliest\) to 10"),
        ({"temperature": 11.0}, "temperature is 11; give"),
        ({"temperature": math.nan}, "temperature is nan; give"),
        ({"seed": -1}, "seed is -1; give 0 to 4,294,967,294"),
        ({"seed": MAX_SEED + 1}, "seed is 4294967295; give"),
        ({"stop": "abc"}, "stop: give up to 16 texts"),
        ({"stop": ("a",) * 17}, "stop: give up to 16 texts"),
        ({"stop": ("",)}, "a text to stop at has 1 to 256 characters"),
        ({"stop": ("a" * (MAX_STOP + 1),)}, "a text to stop at has 1 to 256 characters"),
        ({"timeout": 0.0}, "timeout is 0; give a number of seconds above 0, up to 86,400"),
        ({"timeout": math.inf}, "timeout is inf; give"),
        ({"timeout": math.nan}, "timeout is nan; give"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as caught:
        AskOptions(**options)
    assert "\n" not in str(caught.value)


def test_the_bounds_themselves_are_within() -> None:
    AskOptions(max_tokens=1, temperature=0.0, seed=0, stop=("a",) * 16, timeout=0.001)
    AskOptions(max_tokens=1_000_000, temperature=10.0, seed=MAX_SEED, stop=("a" * MAX_STOP,), timeout=86_400.0)
