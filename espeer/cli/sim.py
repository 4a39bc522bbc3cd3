"""`espeer sim`: what a fleet of real nodes makes of a scenario, and experiments."""

import dataclasses
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from json import loads
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from cyclopts import App
from rich.console import Console
from rich.markup import escape

from espeer.cli.show import print_json, table
from espeer.cli.termination import heed_termination
from espeer.errors import ConfigError, EspeerError
from espeer.sim.experiments import settings
from espeer.sim.experiments.settings import Settings
from espeer.sim.reading import MAX_FILE

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
def run(
    file: Path,
    /,
    *more: Path,
    quick: bool = False,
    data: Path | None = None,
    model: str | None = None,
    out: Path = Path("results"),
    json: bool = False,
) -> None:
    """Run a scenario or an experiment on this machine.

    A scenario puts node processes over 127.0.0.1 through something, with a model that needs no weights. It ends with exit code
    1 where it expects more than was measured, and keeps the processes' logs then.

    An experiment asks questions, with a real model. What is done of it is kept in OUT/NAME/work.db: stop it when you like, and
    run it again to go on. It leaves result.json, a table and plots beside that.

    Example: espeer sim run simulations/baseline-8.toml --json | tail -1

    :param file: the scenario or experiment, TOML; see docs/scenarios.md.
    :param more: more of them, one after the other.
    :param quick: run the smaller form of it, in seconds or minutes.
    :param data: the folder of the data sets that an experiment asks from, or $ESPEER_DATA.
    :param model: the model of an experiment, as for `espeer node`, in place of the file's.
    :param out: the folder for what experiments leave.
    :param json: end each with one line of JSON; all else goes to standard error.
    """
    heed_termination()
    console = Console(stderr=json, highlight=False)
    if not console.is_terminal:
        console.width = _WIDE
    read = [_read(path, quick=quick) for path in (file, *more)]  # all, before the first runs
    troubles = []
    for path, one in zip((file, *more), read, strict=True):
        if isinstance(one, Settings):
            chosen = one if model is None else replace(one, model=model)
            _experiment(chosen, path, console, quick=quick, data=data or _data(), out=out, json=json)
        elif trouble := _run_one(one, console, quick=quick, json=json):
            troubles.append(trouble)
    if troubles:
        raise ScenarioFailed("; ".join(troubles))


@app.command
def compare(before: Path, after: Path, /, *, json: bool = False) -> None:
    """Say what got better or worse from one experiment's result to another's, beyond noise.

    Where both asked the same questions they are compared pair by pair; else their 95 % intervals must not touch. Of fewer than
    6 questions, or runs, nothing is said. Of many figures one in 20 differs by chance.

    Example: espeer sim compare results/before/result.json results/after/result.json

    :param before: a result.json.
    :param after: another one, of the same experiment.
    :param json: print one line of JSON.
    """
    from espeer.sim.experiments import report  # noqa: PLC0415 - imports numpy
    from espeer.sim.experiments.compare import compare as find  # noqa: PLC0415

    changes = find(_result(before), _result(after))
    if json:
        print_json([dataclasses.asdict(change) for change in changes])
        return
    made = table("figure", "before", "after", "difference", "by", "")
    for change in changes:
        known = ["-" if one is None else report.shown(one) for one in (change.before, change.after, change.difference)]
        made.add_row(change.name, *known, change.by, change.verdict)
    Console(highlight=False).print(made)


def _result(path: Path) -> dict[str, Any]:
    try:
        found = loads(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} is not the result of an experiment")
    return found


def _data() -> Path | None:
    given = os.environ.get("ESPEER_DATA")
    return Path(given) if given else None


def _experiment(
    settings: Settings, path: Path, console: Console, *, quick: bool, data: Path | None, out: Path, json: bool
) -> None:
    from espeer.sim.experiments.performing import perform  # noqa: PLC0415 - no other command needs what it imports

    console.print(f"[bold]{settings.name}[/]: {escape(settings.about)}")
    options = "".join([f" --model {Path(settings.model).name}" if settings.model else "", " --data DIR" if data else ""])
    command = f"espeer sim run {path}{' --quick' if quick else ''}{options}"
    folder = out / (f"{settings.name}-quick" if quick else settings.name)
    report = perform(settings, folder=folder, data=data, command=command, console=console)
    for shown in report.tables:
        made = table(*shown.columns)
        for row in shown.rows:
            made.add_row(*map(escape, row))
        console.print(f"\n[bold]{escape(shown.title)}[/]")
        console.print(made)
    for note in report.notes:
        console.print(f"  {escape(note)}", style="dim")
    console.print(f"  written to {folder}", style="dim")
    if json:
        print_json({"name": settings.name, "quick": quick} | {one.name: one.estimate.value for one in report.figures})
        sys.stdout.flush()


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


def _read(path: Path, *, quick: bool) -> "Scenario | Settings":
    from espeer.sim import scenario  # noqa: PLC0415

    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE + 1).decode()
        return settings.parse(text, quick=quick) if settings.is_experiment(text) else scenario.parse(text, quick=quick)
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
