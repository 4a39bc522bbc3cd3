"""`espeer data`: the data sets that experiments ask from."""

import sys
from pathlib import Path

from cyclopts import App
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from espeer.cli.options import Json
from espeer.cli.show import print_json
from espeer.cli.termination import heed_termination
from espeer.errors import InputError
from espeer.sim.experiments.datasets import DATA_SETS

app = App(name="data", help="Fetch the data sets that experiments ask from.")


@app.command
def fetch(*names: str, to: Path = Path("data"), json: Json = False) -> None:
    """Download data sets from where their makers have them, and write them as experiments read them.

    mmlu (166 MB, of which 2.4 MB are kept), sciq and scifact (3 MB each). Each has a licence of its own, which is shown; none
    is part of espeer. An archive must have the SHA-256 that is known of it. What breaks off goes on with the next call.

    Example: espeer data fetch sciq --to ~/data

    :param names: which; all by default.
    :param to: the folder; give it to `espeer sim run` as --data.
    """
    from espeer.sim.experiments.fetching import fetch as get  # noqa: PLC0415 - urllib takes a while to import

    heed_termination()
    unknown = [name for name in names if name not in DATA_SETS]
    if unknown:
        raise InputError(f"there is no data set {unknown[0]!r} to fetch; give some of {', '.join(DATA_SETS)}")
    console = Console(file=sys.stderr if json else None, highlight=False, soft_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    written = {}
    for name in names or DATA_SETS:
        data_set = DATA_SETS[name]
        console.print(data_set.licence)
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task(name, total=data_set.size)
            written[name] = get(data_set, to, lambda done, bar=bar: progress.update(bar, completed=done))  # type: ignore[misc]
        console.print(f"  {written[name]}")
    if json:
        print_json({name: str(file) for name, file in written.items()})
