"""Limits on figures."""

from typing import Any

import pytest

from espeer.errors import ConfigError
from espeer.sim import expectation

KNOWN = ("delivery", "missed", "latency_p50_s")


@pytest.mark.parametrize(
    ("limit", "value", "holds"),
    [
        ("< 0.3", 0.29, True),
        ("< 0.3", 0.3, False),
        ("<= 0.3", 0.3, True),
        (">= 1000", 1000, True),
        (">= 1000", 999.9, False),
        ("> -1", 0, True),
        (0, 0, True),
        (0, 1, False),
        ("== 1", 1.0, True),
        ("== 1", None, False),
        ("< 1", float("nan"), False),
        ("== 1", True, False),
    ],
)
def test_a_limit_holds_for_what_keeps_it(limit: Any, value: Any, *, holds: bool) -> None:
    (expected,) = expectation.read({"delivery": limit}, KNOWN)
    assert expected.holds({"delivery": value}) is holds


def test_a_figure_that_was_not_measured_keeps_no_limit() -> None:
    (expected,) = expectation.read({"missed": "< 5"}, KNOWN)
    assert not expected.holds({})


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"lateness": 0}, "expect.'lateness' is not known"),
        ({"missed": "few"}, "expect.missed: give a limit"),
        ({"missed": 0.5}, "expect.missed: give a limit"),
        ({"missed": True}, "expect.missed: give a limit"),
        ({"missed": 10**20}, "expect.missed: give a limit"),
        ({"missed": "< 1e5"}, "expect.missed: give a limit"),
        ([], "expect is not a table"),
        (None, "expect is not a table"),
    ],
)
def test_what_is_no_limit_is_refused_by_name(table: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        expectation.read(table, KNOWN)
