"""What fleets of several sizes came to, as figures, tables and plots (pure)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from espeer.sim.experiments.estimates import Estimate
from espeer.sim.experiments.report import Better, Figure, Line, Plot, Report, Table, line, measured, shown
from espeer.sim.experiments.settings import Scale
from espeer.sim.virtual.profile import Profile

Found = Mapping[int, Sequence[Mapping[str, Any]]]
"""By the number of nodes, what each simulation measured."""

AIM: Final = 0.15
"""Real and simulated should agree within this share."""
_STAND_INS: Final = (
    "each node is the real one, verifies every signature and has a store of its own, in memory; what stands in are libp2p "
    "(hosts, streams and GossipSub's mesh, IHAVE and IWANT, with its parameters but without its wire format), the threads, "
    "and the model: its words are the fake model's, its times the profile's"
)
_COUNTED: Final = (
    "other work of a node than its model's takes no simulated time, but for hop_ms per message and answer_ms per answer; "
    "duplicate work is counted in condensates, as the fake model words them; groups that overlap are different ones"
)
_SELDOM: Final = (
    "every fleet learns and is asked the same in all; of many each is seldom asked, and has read less of what it recalls: "
    "that, and not the network, is what the first token shows"
)
_LEFT_OUT: Final = (
    "links have a delay, a rate and loss, but nothing queues on them; no slow start, no NATs, no relays, no disks"
)
_KEPT: Final[Mapping[str, Better]] = {
    "missed": "lower",
    "failed": "lower",
    "latency_p50_s": "lower",
    "latency_p99_s": "lower",
    "latency_max_s": "lower",
    "convergence_s": "lower",
    "ttft_p50_ms": "lower",
    "ttft_p99_ms": "lower",
    "bytes_per_node_hour": "lower",
    "control_bytes_per_node_hour": "lower",
    "sync_bytes_per_node_hour": "lower",
    "replica_records": "",
    "replica_bytes": "lower",
    "condensed": "lower",
    "condensed_distinct": "",
    "condensed_on_nodes": "lower",
    "active": "lower",
    "model_busy": "lower",
    "by_sync": "",
    "cpu_s": "lower",
    "rss_peak_mb": "lower",
    "simulated_s": "",
}
_COMPARED: Final = {
    "latency_p50_s": "delivery p50, s",
    "latency_p99_s": "delivery p99, s",
    "ttft_p50_ms": "first token p50, ms",
    "ttft_p99_ms": "first token p99, ms",
}


def make(settings: Scale, costs: Profile, found: Found, pairs: Sequence[Mapping[str, Any]]) -> Report:
    """Make the report.

    :param pairs: for each seed what was measured of real nodes and of simulated ones in their place.
    """
    by = {nodes: _figures(nodes, runs) for nodes, runs in found.items()}
    figures = [figure for some in by.values() for figure in some.values()]
    compared = _compared(pairs)
    notes = [
        _STAND_INS,
        _COUNTED,
        _LEFT_OUT,
        _SELDOM,
        "longest: of all records and nodes, so also of those that were cut off",
        "all hold all after: from the last record made, long after the cut",
        "failed: lessons and questions of a node that went meanwhile, or did not manage in time",
        "what a model has read is kept for later, but not prepared in idle time"
        if not settings.warming
        else "models prepare in idle time",
        f"of {len(settings.seeds)} runs with a seed each an interval is about the range of them",
        f"where the nodes did not come to hold the same in time: {_unequal(found)}",
    ]
    if pairs:
        notes.append(
            f"real against simulated: real processes over loopback, the real model with 1 thread each on this machine's cores; "
            f"a hop between two of them took {pairs[0]['hop_ms']:g} ms; the aim is {AIM:.0%}"
        )
    return Report(
        name=settings.experiment,
        about={
            "model": costs.model,
            "profile": costs.machine,
            "seeds": settings.seeds,
            "minutes": settings.minutes,
            "latency": f"{settings.latency_ms:g} ms (sigma {settings.latency_spread:g})",
            "loss": settings.loss,
            "learnt a minute": settings.learns_per_minute,
            "asked a minute": settings.asks_per_minute,
            "churn an hour": settings.churn,
        },
        figures=(*figures, *compared[0]),
        tables=(*_tables(by), *compared[1]),
        plots=_plots(settings.name, by),
        notes=tuple(notes),
    )


def _figures(nodes: int, runs: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    made = {}
    for name, better in _KEPT.items():
        outcomes = {str(place): [float(run[name])] for place, run in enumerate(runs) if run[name] is not None}
        if outcomes:
            made[name] = measured(f"{nodes}.{name}", outcomes, better=better)
    return made


def _unequal(found: Found) -> int:
    return sum(not run["equal"] for runs in found.values() for run in runs)


def _tables(by: Mapping[int, Mapping[str, Figure]]) -> tuple[Table, ...]:
    def rows(*columns: tuple[str, float, int]) -> tuple[tuple[str, ...], ...]:
        return tuple((f"{nodes:,}", *(_cell(some, *column) for column in columns)) for nodes, some in by.items())

    return (
        Table(
            "Time",
            (
                "nodes",
                "delivery p50, s",
                "delivery p99, s",
                "longest, s",
                "all hold all after, s",
                "first token p50, ms",
                "first token p99, ms",
                "missed",
                "failed",
            ),
            rows(
                ("latency_p50_s", 1, 3),
                ("latency_p99_s", 1, 3),
                ("latency_max_s", 1, 1),
                ("convergence_s", 1, 2),
                ("ttft_p50_ms", 1, 0),
                ("ttft_p99_ms", 1, 0),
                ("missed", 1, 0),
                ("failed", 1, 0),
            ),
        ),
        Table(
            "Traffic and room, of a node",
            ("nodes", "MB sent an hour", "of it gossip's upkeep", "of it sync", "records", "store, KB"),
            rows(
                ("bytes_per_node_hour", 1e6, 2),
                ("control_bytes_per_node_hour", 1e6, 2),
                ("sync_bytes_per_node_hour", 1e6, 2),
                ("replica_records", 1, 0),
                ("replica_bytes", 1e3, 0),
            ),
        ),
        Table(
            "Refinement, done by each node for itself",
            (
                "nodes",
                "condensates in all",
                "different groups",
                "nodes that did the same group, mean",
                "active experiences of a node",
                "share of the time a model works, %",
            ),
            rows(
                ("condensed", 1, 0),
                ("condensed_distinct", 1, 0),
                ("condensed_on_nodes", 1, 1),
                ("active", 1, 0),
                ("model_busy", 0.01, 1),
            ),
        ),
        Table(
            "What the simulation took",
            ("nodes", "simulated, s", "time of one core, s", "peak memory, MB"),
            rows(("simulated_s", 1, 0), ("cpu_s", 1, 0), ("rss_peak_mb", 1, 0)),
        ),
    )


def _cell(figures: Mapping[str, Figure], name: str, unit: float, digits: int) -> str:
    figure = figures.get(name)
    if figure is None:
        return "–"
    one = figure.estimate
    scaled = Estimate(one.value / unit, one.low / unit, one.high / unit, one.of)
    return shown(scaled, digits=digits) if one.of > 1 else f"{scaled.value:.{digits}f}"


def _plots(name: str, by: Mapping[int, Mapping[str, Figure]]) -> tuple[Plot, ...]:
    wanted = (
        ("time", "Delivery and convergence", "seconds", ("latency_p50_s", "latency_p99_s", "convergence_s"), 1.0),
        ("bytes", "Sent by a node in an hour", "MB", ("bytes_per_node_hour", "control_bytes_per_node_hour"), 1e6),
        ("replica", "Experiences of a node", "number", ("replica_records", "active"), 1.0),
        ("duplicates", "Nodes that condensed the same group", "nodes", ("condensed_on_nodes",), 1.0),
    )
    return tuple(
        Plot(f"{name}-{short}", title, "nodes", unit, tuple(by), lines, log_x=True)
        for short, title, unit, names, size in wanted
        if (lines := tuple(_line(by, one, size) for one in names if all(one in some for some in by.values())))
    )


def _line(by: Mapping[int, Mapping[str, Figure]], name: str, unit: float) -> Line:
    estimates = [some[name].estimate for some in by.values()]
    scaled = [Estimate(one.value / unit, one.low / unit, one.high / unit, one.of) for one in estimates]
    return line(name.removesuffix("_s").removesuffix("_per_node_hour").replace("_", " "), scaled)


def _compared(pairs: Sequence[Mapping[str, Any]]) -> tuple[tuple[Figure, ...], tuple[Table, ...]]:
    if not pairs:
        return (), ()
    figures, rows = [], []
    for name, title in _COMPARED.items():
        of = {
            side: measured(f"{side}.{name}", {str(place): [float(pair[side][name])] for place, pair in enumerate(pairs)})
            for side in ("real", "simulated")
        }
        ratio = measured(
            f"simulated over real.{name}",
            {str(place): [pair["simulated"][name] / pair["real"][name]] for place, pair in enumerate(pairs)},
        )
        figures += [*of.values(), ratio]
        within = "yes" if abs(ratio.estimate.value - 1) <= AIM else "no"
        rows.append(
            (title, shown(of["real"].estimate), shown(of["simulated"].estimate), shown(ratio.estimate, digits=2), within)
        )
    columns = ("", "real", "simulated", "simulated over real", f"within {AIM:.0%}")
    return tuple(figures), (Table("Real against simulated", columns, tuple(rows)),)
