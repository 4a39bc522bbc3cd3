"""`espeer demo`: a fleet of three devices; what two of them learn, the third answers with."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from espeer.cli.options import Whole
from espeer.cli.show import print_json, short, table
from espeer.cli.termination import heed_termination
from espeer.demo import drive
from espeer.demo.incidents import AREAS
from espeer.demo.results import Results, interval
from espeer.sim.fleet import Device, Fleet


def demo(*, incidents: Whole = 27, model: str | None = None, json: bool = False) -> None:
    """Watch three devices learn from each other: three real processes, a real model, real gossip.

    A and B each learn of some incidents of an invented machine fleet, C of none. Then C answers a multiple-choice question
    about every incident, without experience and with what reached it. Takes a few minutes on two cores.

    Example: espeer demo --json | tail -1

    :param incidents: how many incidents each device learns, at most 27.
    :param model: a GGUF file, hf:OWNER/REPO/FILE, or "fake"; by default SmolLM2-135M-Instruct.
    :param json: end with one line of JSON; all else goes to standard error.
    """
    heed_termination()
    console = Console(stderr=json, highlight=False)
    with tempfile.TemporaryDirectory(prefix="espeer-demo-") as folder, Fleet(Path(folder)) as fleet:
        console.print("[bold]A fleet of three devices[/]: three processes, each with its own model, store and index.")
        console.print(f"They hold the topics {', '.join(AREAS)} and share what they learn by gossip.\n")
        devices = drive.start(fleet, model)
        with _live(console, devices) as progress:
            results = drive.run(devices, incidents, progress)
    _report(console, results)
    if json:
        print_json(results.summary())


@contextmanager
def _live(console: Console, devices: dict[str, Device]) -> Iterator[Progress]:
    """Show progress bars below the mesh."""
    progress = Progress(
        TextColumn("{task.description:<30}"), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )
    with Live(Group(_Mesh(devices), "", progress), console=console, refresh_per_second=2):
        yield progress


class _Mesh:
    """The devices as they are now: who is connected to whom, for which topics in whose gossip mesh, and what each holds."""

    def __init__(self, devices: dict[str, Device]) -> None:
        self._devices = devices
        self._names = drive.names(devices)

    def __rich__(self) -> Table:
        """Ask every device anew."""
        made = table("device", "process", "peer id", "connected to", "in the gossip mesh of", "holds", "made itself")
        for name, device in self._devices.items():
            status, peers = device.ask("status"), device.ask("peers")
            linked = ", ".join(sorted(self._names[peer["peer_id"]] for peer in peers))
            meshed = ", ".join(sorted({topic for peer in peers for topic in peer["mesh"]})) or "forming"
            held = sum(row["records"] for row in status["records"])
            own = sum(status["methods"].values())
            made.add_row(name, str(device.process.pid), short(status["peer_id"]), linked, meshed, str(held), str(own))
        return made


def _report(console: Console, results: Results) -> None:
    made = table("incidents learnt by", "questions", "C without experience", "C with experience")
    for tally in results.tallies():
        shares = (_share(right, tally.questions) for right in (tally.right_before, tally.right_after))
        made.add_row(tally.learner, str(tally.questions), *shares)
    console.print()
    console.print(made)
    console.print("accuracy with its 95 % interval (Wilson); four choices each, so chance is 25 %", style="dim")
    for name, methods in results.methods.items():
        how = ", ".join(f"{number} {method}" for method, number in methods.items())
        console.print(f"how {name}'s experiences came about: {how}", style="dim")
    console.print(f"median time to first token with experience: {results.ttft_p50_ms:.0f} ms", style="dim")
    if turned := results.turned():
        console.print(f"\nC was asked: [bold]{escape(turned.incident.question)}[/]")
        console.print(f"  alone it said     [red]{escape(turned.before['choice'])}[/]")
        console.print(
            f"  with experience   [green]{escape(turned.after['choice'])}[/] (confidence {turned.after['confidence']:.2f})"
        )
        used = turned.after["experiences"][0]
        console.print(f"  because {results.names[used['author']]} had learnt   {escape(used['text'])}")


def _share(right: int, questions: int) -> str:
    low, high = interval(right, questions)
    return f"{right / questions:4.0%}  ({low:.0%} to {high:.0%})" if questions else "-"
