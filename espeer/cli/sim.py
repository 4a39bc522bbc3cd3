"""`espeer sim run`: what a fleet of real nodes makes of a scenario."""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from cyclopts import App
from rich.console import Console
from rich.markup import escape

from espeer.cli.show import print_json, table
from espeer.cli.termination import heed_termination
from espeer.errors import ConfigError, EspeerError

if TYPE_CHECKING:
    from rich.status import Status

    from espeer.sim.runner import Result
    from espeer.sim.scenario import Scenario

app = App(name="sim", help="Put a fleet of real nodes through something, and measure.")

_WIDE: Final = 200  # lines that go into a file are not folded
_LINE_SECONDS: Final = 15.0
_COSTS: Final = ("seconds", "rss_growth_mb", "rss_peak_mb", "cpu", "cpu_after")
_DONE: Final = ("messages", "streams", "sent", "connections", "refused", "thrown_out")


class ScenarioFailed(EspeerError):
    """A scenario ran, and did not show what it expects."""


@app.command
def run(file: Path, /, *more: Path, quick: bool = False, json: bool = False) -> None:
    """Run a scenario on this machine: node processes over 127.0.0.1, with a model that needs no weights.

    Ends with exit code 1 where the scenario expects more than was measured, and keeps the processes' logs then.

    Example: espeer sim run simulations/baseline-8.toml --json | tail -1

    :param file: the scenario, TOML; see docs/scenarios.md.
    :param more: more of them, one after the other.
    :param quick: run the smaller form of it, in seconds.
    :param json: end each with one line of JSON; all else goes to standard error.
    """
    heed_termination()
    console = Console(stderr=json, highlight=False)
    if not console.is_terminal:
        console.width = _WIDE
    scenarios = [_read(path, quick=quick) for path in (file, *more)]  # all, before the first runs
    troubles = [trouble for scenario in scenarios if (trouble := _run_one(scenario, console, quick=quick, json=json))]
    if troubles:
        raise ScenarioFailed("; ".join(troubles))


def _run_one(scenario: "Scenario", console: Console, *, quick: bool, json: bool) -> str | None:
    """Run a scenario and show what came of it; return what is wrong with that."""
    from espeer.sim.runner import perform  # noqa: PLC0415 - no other command needs the replica, and it takes a while to import

    console.print(f"[bold]{scenario.name}[/] (seed {scenario.seed}): {escape(scenario.about)}")
    try:
        with _Progress(console) as progress:
            result = perform(scenario, quick=quick, say=progress.say)
    except EspeerError as error:
        console.print(escape(str(error)), style="red")
        return str(error)
    _report(console, result)
    if json:
        print_json(result.summary())
        sys.stdout.flush()
    if not result.failed:
        return None
    return f"{scenario.name}: not as expected: {', '.join(one.figure for one in result.failed)} (logs: {result.logs})"


def _read(path: Path, *, quick: bool) -> "Scenario":
    from espeer.sim.scenario import MAX_FILE, parse  # noqa: PLC0415

    try:
        with path.open("rb") as file:
            return parse(file.read(MAX_FILE + 1).decode(), quick=quick)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


class _Progress:
    """Shows what is going on: in place on a terminal, a line now and then otherwise."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = console.status("…") if console.is_terminal else None
        self._next = 0.0

    def __enter__(self) -> Self:
        if self._status:
            self._status.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._status:
            self._status.stop()

    def say(self, line: str) -> None:
        """Show a line, unless that would be too many."""
        if self._status:
            self._status.update(line)
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + _LINE_SECONDS
            self._console.print(f"  {line}", style="dim")


def _report(console: Console, result: "Result") -> None:
    made = table("figure", "measured", "expected", "")
    limits = {expected.figure: expected for expected in result.scenario.expect}
    for name, value in result.figures.items():
        if value is None and name not in limits:
            continue
        limit = limits.get(name)
        verdict = "" if limit is None else "[green]met[/]" if limit.holds(result.figures) else "[bold red]not met[/]"
        made.add_row(name, _shown(value), limit.limit if limit else "", verdict)
    console.print(made)
    if result.attacks:
        _report_attacks(console, result.attacks)


def _report_attacks(console: Console, attacks: Sequence[Mapping[str, Any]]) -> None:
    made = table("attack", *_COSTS, *_DONE)
    for attack in attacks:
        costs = [_shown(attack[name]) for name in _COSTS]
        made.add_row(attack["kind"], *costs, *(_shown(attack["attacker"].get(name)) for name in _DONE))
    console.print(made)


def _shown(value: Any) -> str:
    if value is None:
        return "not measured"
    return f"{value:,.3f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
