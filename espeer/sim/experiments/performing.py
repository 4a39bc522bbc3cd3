"""Performs an experiment: its work, its progress on the screen, and the files that it leaves."""

import importlib.metadata
import json
import os
import platform
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import trio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from espeer.lifecycle import prompts
from espeer.llm.cores import processor
from espeer.sim.experiments import (
    ablation,
    endurance,
    generalised,
    native,
    plots,
    refined,
    repetitive,
    scale,
    sensitivity,
    serverless,
)
from espeer.sim.experiments.journal import Journal
from espeer.sim.experiments.report import Report
from espeer.sim.experiments.settings import (
    Ablation,
    Endurance,
    Generalised,
    Native,
    Refined,
    Repetitive,
    Scale,
    Sensitivity,
    Serverless,
    Settings,
)
from espeer.sim.experiments.work import Work
from espeer.tasks import cause

RESULT: Final = "result.json"
TABLE: Final = "result.md"
JOURNAL: Final = "work.db"
_RUNS: Final[Mapping[type[Settings], Callable[[Any, Work], Awaitable[Report]]]] = {
    Ablation: ablation.run,
    Endurance: endurance.run,
    Generalised: generalised.run,
    Refined: refined.run,
    Repetitive: repetitive.run,
    Scale: scale.run,
    Sensitivity: sensitivity.run,
    Native: native.run,
    Serverless: serverless.run,
}


def perform(settings: Settings, *, folder: Path, data: Path | None, command: str, console: Console) -> Report:
    """Do an experiment, or go on with it, and write what it came to into the folder.

    :param folder: where work and results are kept.
    :param command: what was typed, for the page of results.
    :raises InputError: the folder holds the work of something else, or the data is not there.
    """
    with Journal(folder / JOURNAL, _depends(settings)) as journal, _bars(console) as progress:
        report = _unwrapped(settings, Work(journal, data, progress))
    here = machine()
    (folder / RESULT).write_text(json.dumps(report.as_json() | {"machine": here}, ensure_ascii=False, indent=1) + "\n")
    (folder / TABLE).write_text(report.as_markdown(command=command, machine=here), encoding="utf-8")
    for plot in report.plots:
        plots.draw(plot, folder)
    return report


def _unwrapped(settings: Settings, work: Work) -> Report:
    """Do the work, and raise what went wrong without the groups that nurseries make."""
    try:
        return trio.run(_RUNS[type(settings)], settings, work)
    except BaseExceptionGroup as group:
        raise cause(group) from group


def _depends(settings: Settings) -> Mapping[str, Any]:
    """What a piece of work depends on beside its key."""
    chosen = {name: value for name, value in asdict(settings).items() if name not in settings.MORE_WORK}
    return chosen | {"prompts": prompts.VERSION}


def machine() -> dict[str, Any]:
    """Return what a figure was measured on."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "espeer": importlib.metadata.version("espeer"),
    }


def _bars(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)
