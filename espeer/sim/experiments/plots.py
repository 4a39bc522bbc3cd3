"""Plots as SVG and PNG, by matplotlib (`pip install 'espeer[sim]'`)."""

from pathlib import Path
from typing import Any, Final

from espeer.errors import InputError
from espeer.sim.experiments.report import Line, Plot

_SIZE: Final = (7.0, 4.2)
_DPI: Final = 130
_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito: told apart by everybody
_MARKS: Final = "osD^vP"
_GROUP: Final = 0.8


def draw(plot: Plot, folder: Path) -> list[Path]:
    """Draw a plot into the folder; return the two files.

    :raises InputError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl  # noqa: PLC0415 - takes long to import, and is an extra
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise InputError("plots need matplotlib; install it with: pip install 'espeer[sim]'") from error
    with mpl.rc_context({"svg.hashsalt": plot.name, "font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.add_subplot()
        for place, line in enumerate(plot.lines):
            if plot.kind == "bars":
                _bars(axes, plot, line, place)
            else:
                _line(axes, plot, line, place)
        axes.set(title=plot.title, xlabel=plot.x_label, ylabel=plot.y_label)
        axes.grid(axis="y", alpha=0.3)
        if plot.kind == "bars":
            axes.set_xticks(range(len(plot.x)), [str(name).replace("_", " ") for name in plot.x], rotation=20, ha="right")
        elif plot.log_x:
            axes.set_xscale("log")
        if len(plot.lines) > 1:
            axes.legend(frameon=False)
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / f"{plot.name}.{ending}" for ending in ("svg", "png")]
        for file in files:
            figure.savefig(file, dpi=_DPI, metadata={"Date": None} if file.suffix == ".svg" else None)
    return files


def _errors(line: Line) -> Any:
    if not line.low:
        return None
    below = [max(0.0, y - low) for y, low in zip(line.y, line.low, strict=True)]
    return below, [max(0.0, high - y) for y, high in zip(line.y, line.high, strict=True)]


def _bars(axes: Any, plot: Plot, line: Line, place: int) -> None:
    width = _GROUP / len(plot.lines)
    at = [number + (place - (len(plot.lines) - 1) / 2) * width for number in range(len(plot.x))]
    colour = _COLOURS[place % len(_COLOURS)]
    axes.bar(at, line.y, width * 0.9, yerr=_errors(line), label=line.label, color=colour, capsize=3, alpha=0.9)


def _line(axes: Any, plot: Plot, line: Line, place: int) -> None:
    colour, mark = _COLOURS[place % len(_COLOURS)], _MARKS[place % len(_MARKS)]
    axes.plot(plot.x, line.y, color=colour, marker=mark, label=line.label)
    if line.low:
        axes.fill_between(plot.x, line.low, line.high, color=colour, alpha=0.15, linewidth=0)
