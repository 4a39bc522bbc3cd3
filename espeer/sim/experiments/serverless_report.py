"""What the experiment "serverless or server" came to (pure)."""

from typing import Final

from espeer.sim.experiments import serverless_costs
from espeer.sim.experiments.estimates import Estimate, difference, mean, quantile
from espeer.sim.experiments.report import Plot, Report, Table, line, shown, signed
from espeer.sim.experiments.serverless_found import PARTS, Kind, Measured
from espeer.sim.experiments.serverless_page import NAMES, Page, of_both
from espeer.sim.experiments.settings import Serverless

_SHARES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_FEW: Final = 400
"""Of fewer values than this a 99th percentile is about the highest of them."""


def report(settings: Serverless, found: Measured) -> Report:
    """Make the report."""
    page = Page(settings, found)
    for load in settings.loads:
        _first_tokens(page, load)
    _parts(page)
    _warming(page)
    _right(page)
    _spread(page)
    serverless_costs.add(page)
    return Report(
        name=settings.experiment,
        about={
            "model": next(iter(found.pieces.values()))["model"],
            "threads": 1,
            "devices": settings.devices,
            "seeds": settings.seeds,
            "round trips in ms": settings.delays,
            "incidents": settings.rounds * settings.lessons,
        },
        figures=tuple(page.figures),
        tables=tuple(page.tables),
        plots=tuple(page.plots),
        notes=_notes(page),
    )


def _first_tokens(page: Page, load: str) -> None:
    rows = []
    lines: dict[tuple[Kind, str], list[Estimate]] = {}
    for delay in page.settings.delays:
        cells = []
        waits = {kind: page.found.waits(kind, delay, load) for kind in NAMES}
        for kind, answered in waits.items():
            values = {volley: [*one.values()] for volley, one in answered.items()}
            page.measure(f"{kind}.{load}.{delay}ms.ttft_mean", values, "lower")
            for name, share in _SHARES.items():
                estimate = page.note(f"{kind}.{load}.{delay}ms.ttft_{name}", quantile(values, share), "lower")
                lines.setdefault((kind, name), []).append(estimate)
                cells.append(shown(estimate, digits=0))
        p2p, server = of_both(waits["p2p"], waits["server"])
        rows.append((str(delay), str(sum(map(len, p2p.values()))), *cells, signed(difference(server, p2p), digits=0)))
    columns = [f"{NAMES[kind]} {name}" for kind in NAMES for name in _SHARES]
    page.tables.append(
        Table(
            f"Time to first token in ms, {load} load",
            ("round trip, ms", "questions", *columns, "client-server's mean over peer to peer's"),
            tuple(rows),
        )
    )
    drawn = [line(f"{NAMES[kind]}, {name}", values) for (kind, name), values in lines.items() if name != "p99"]
    title = f"Time to first token, {load} load"
    name = f"{page.settings.name}-ttft-{load}"
    page.plots.append(Plot(name, title, "round trip, ms", "time to first token, ms", page.settings.delays, tuple(drawn)))


def _parts(page: Page) -> None:
    rows = []
    for load in page.settings.loads:
        for kind in NAMES:
            for delay in page.settings.delays:
                spent = page.found.parts(kind, delay, load)
                rows.append(
                    (load, NAMES[kind], str(delay), *(f"{spent[part]:.1f}" for part in PARTS), f"{sum(spent.values()):.0f}")
                )
    page.tables.append(
        Table(
            "Parts of the time to first token, means in ms",
            ("load", "deployment", "round trip, ms", *PARTS, "sum"),
            tuple(rows),
        )
    )


def _warming(page: Page) -> None:
    """What peers gain by preparing in idle time, which is not the network's doing: the same without that."""
    delay = page.settings.delays[0]
    cold = Measured({("p2p", delay, seed): piece for seed, piece in page.found.cold.items()})
    rows = []
    for load in page.settings.loads:
        warm, alone = of_both(page.found.waits("p2p", delay, load), cold.waits("p2p", delay, load))
        server, _ = of_both(page.found.waits("server", delay, load), cold.waits("p2p", delay, load))
        page.measure(f"p2p.{load}.{delay}ms.cold.ttft_mean", alone, "lower")
        means = [shown(mean(waits), digits=0) for waits in (warm, alone, server)]
        rows.append((load, *means, signed(difference(alone, warm), digits=0)))
    page.tables.append(
        Table(
            f"Time to first token with and without preparing in idle time, means in ms, round trip {delay} ms",
            ("load", "peers", "peers that do not warm", "client-server", "what not warming costs"),
            tuple(rows),
        )
    )


def _right(page: Page) -> None:
    rows = []
    right = {kind: [_checked(page, kind, number) for number in range(page.settings.rounds + 1)] for kind in NAMES}
    for number in range(page.settings.rounds + 1):
        estimates = [page.measure(f"{kind}.right.round{number}", right[kind][number], "higher") for kind in NAMES]
        apart = difference(right["p2p"][number], right["server"][number])
        learnt = number * page.settings.lessons
        rows.append((str(number), str(learnt), *(shown(one) for one in estimates), signed(apart)))
    lines = [line(NAMES[kind], [mean(outcomes) for outcomes in right[kind]]) for kind in NAMES]
    page.tables.append(
        Table(
            f"Share of right choices over time, round trip {page.settings.delays[0]} ms",
            ("after round", "incidents learnt", *NAMES.values(), "peer to peer over client-server"),
            tuple(rows),
        )
    )
    rounds = tuple(range(page.settings.rounds + 1))
    page.plots.append(
        Plot(f"{page.settings.name}-right", "Right choices over time", "rounds of lessons", "share right", rounds, tuple(lines))
    )
    rows = []
    for load in page.settings.loads:
        for delay in page.settings.delays:
            shares = []
            for kind in NAMES:
                outcomes = {key: [float(one["found"])] for key, one in page.found.asked(kind, delay, load).items()}
                shares.append(shown(page.measure(f"{kind}.{load}.{delay}ms.with_experience", outcomes, "higher")))
            rows.append((load, str(delay), *shares))
    title = "Share of questions with what was learnt about them in the prompt"
    page.tables.append(Table(title, ("load", "round trip, ms", *NAMES.values()), tuple(rows)))


def _checked(page: Page, kind: Kind, number: int) -> dict[str, list[float]]:
    outcomes: dict[str, list[float]] = {}
    for _, seed, piece in page.found.of(kind):
        for one in piece["checked"]:
            if one["round"] == number:
                outcomes.setdefault(f"{seed} {one['item']}", []).append(float(one["right"]))
    return outcomes


def _spread(page: Page) -> None:
    rows = []
    for delay in page.settings.delays:
        cells = []
        for kind in NAMES:
            every = {
                f"{seed} {one['item']}": one["seconds"]
                for (one_kind, at, seed), spreads in page.found.spreads.items()
                for one in spreads
                if (one_kind, at) == (kind, delay)
            }
            spread = {key: [seconds] for key, seconds in every.items() if seconds is not None}
            late = f"{len(every) - len(spread)} of {len(every)} not in 60 s" if len(spread) < len(every) else ""
            known = shown(page.measure(f"{kind}.{delay}ms.spread_s", spread, "lower"), digits=2) if spread else ""
            cells.append("; ".join(filter(None, (known, late))))
            arrived = {str(seed): piece["delivery_ms"] for _, seed, piece in page.found.of(kind, delay)}
            cells.append(shown(page.note(f"{kind}.{delay}ms.delivery_ms_p50", quantile(arrived, 0.5), "lower"), digits=0))
        rows.append((str(delay), *cells))
    columns = [
        f"{NAMES[kind]}, {what}" for kind in NAMES for what in ("until all recall it, s", "from made to stored, p50 in ms")
    ]
    page.tables.append(Table("From a lesson until it helps all", ("round trip, ms", *columns), tuple(rows)))


def _notes(page: Page) -> tuple[str, ...]:
    few = min(
        len(page.found.asked(kind, delay, load))
        for kind in NAMES
        for delay in page.settings.delays
        for load in page.settings.loads
    )
    notes = [
        f"peer to peer is {page.settings.devices} peers; client-server is as many clients with that model, and a server",
        "all share this machine's cores, a thread for each model: in a burst they wait for these, too, in both deployments",
        "a question's type is that of what is recalled for it; no model classifies it, so that part is next to nothing",
        "proxies hold all bytes back but TCP's own greeting; connections are open before the first question comes",
        "a killed process's connections are reset at once; a hung one's stand, as after a power cut, until time is up",
        "right or wrong is asked apart from the time to first token, by choosing among four",
        "at the first delay replicas of lessons that were told again in other words are refined, one node after the other",
        "of the network only the delay is there: no loss, no narrow links, no relays, no machine that is switched off for long",
        "every experience fits into each peer's cache of states; of thousands a peer would read most anew, as clients do here",
        "a recall from the server takes two round trips: one agrees on the stream's protocol, one asks",
        "intervals: questions of one burst are drawn as a whole, and all runs of a seed for shares of time and costs",
        "a client asks about each experience for the first time under the first load, and has its states under the next",
        f"of {len(page.settings.seeds)} runs with a seed each an interval is about the range of them",
    ]
    unanswered = sum(not one["answered"] for kind in NAMES for _, _, piece in page.found.of(kind) for one in piece["asked"])
    if unanswered:
        notes.append(f"{unanswered} questions were not answered in time; they are in no time to first token")
    if few < _FEW:
        notes.append(f"of {few} questions a 99th percentile is about the longest wait")
    return tuple(notes)
