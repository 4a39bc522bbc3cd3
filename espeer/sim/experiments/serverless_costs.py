"""What each deployment costs, what an outage does to it, and where the one becomes the better (pure)."""

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Final

from espeer.sim.experiments.estimates import Estimate, mean, quantile
from espeer.sim.experiments.report import Better, Table, shown
from espeer.sim.experiments.serverless_crossing import breaks_even, crossing_of_medians
from espeer.sim.experiments.serverless_found import SERVER, Kind, Piece
from espeer.sim.experiments.serverless_page import NAMES, Page, of_both

_PRIORITIES: Final = ("interactive", "distil", "warm")
_FIRST_USE: Final = "an idle device's first use of an experience"
_NO_MS: Final = 0.5
"""Round trips that differ by less are one."""
_PHASES: Final = {"before": "before", "down": "while it is down", "after": "after its new start"}


def add(page: Page) -> None:
    """Add what is told here to a report."""
    _compute(page)
    _costs(page)
    if page.found.failures:
        _outages(page)
    cost = _costs_of(page)
    _crossings(page, cost)
    _made_up_for(page, cost)


def _compute(page: Page) -> None:
    rows = []
    for kind in NAMES:
        for role in _roles(kind):
            nodes = [
                (seed, delay, name) for delay, seed, piece in page.found.of(kind) for name in piece["busy"] if _is(role, name)
            ]
            cells = []
            for priority in _PRIORITIES:
                outcomes: dict[str, list[float]] = {}
                for seed, delay, name in nodes:
                    piece = page.found.pieces[kind, delay, seed]
                    outcomes.setdefault(str(seed), []).append(piece["busy"][name][priority] / piece["seconds"])
                cells.append(shown(page.measure(f"{kind}.{role}.utilisation.{priority}", outcomes, "")))
            pieces = [piece for _, _, piece in page.found.of(kind)]
            refining = [spent for piece in pieces for name, spent in piece["refining"].items() if _is(role, name)]
            cells.append(f"{sum(refining) / len(refining):.2f}" if refining else "holds none")
            took = sum(piece["seconds"] for piece in pieces) / len(pieces)
            rows.append((NAMES[kind], role, *cells, f"{took:.0f}"))
    columns = ("deployment", "node", "answering", "distilling", "warming", "refining, s of model time", "a trace took, s")
    page.tables.append(
        Table("Share of the time that a node's model works, and what refining its replica costs", columns, tuple(rows))
    )


def _roles(kind: Kind) -> tuple[str, ...]:
    return ("peer",) if kind == "p2p" else (SERVER, "client")


def _is(role: str, name: str) -> bool:
    return (role == SERVER) == (name == SERVER)


_COSTS: Final[tuple[tuple[str, str, Callable[[Piece], float | None]], ...]] = (
    ("query_bytes", "bytes over the network for a question", lambda piece: piece["query_bytes"]),
    ("lesson_bytes", "bytes over the network for an experience", lambda piece: piece["lesson_bytes"]),
    ("quiet_bytes", "bytes a second while nothing happens", lambda piece: piece["quiet"]),
    ("stored_bytes", "bytes of records held, all nodes together", lambda piece: sum(piece["stored"].values())),
    ("stored_bytes_device", "bytes of records held by a device", lambda piece: _of_devices(piece["stored"])),
    ("answering_s", "model seconds to answer, all nodes together", lambda piece: _worked(piece, "interactive")),
    ("distilling_s", "model seconds to distil, all nodes together", lambda piece: _worked(piece, "distil")),
    ("warming_s", "model seconds to warm, all nodes together", lambda piece: _worked(piece, "warm")),
    (
        "refining_s",
        "model seconds to refine, all nodes together",
        lambda piece: sum(piece["refining"].values()) if piece["refining"] else None,
    ),
)
"""What is told of each deployment: the figure's name, what it is, and how a piece tells it."""


def _worked(piece: Piece, priority: str) -> float:
    return sum(spent[priority] for spent in piece["busy"].values())


def _of_devices(values: dict[str, int]) -> float:
    found = [value for name, value in values.items() if name != SERVER]
    return sum(found) / len(found)


def _costs(page: Page) -> None:
    rows = []
    for name, what, of in _COSTS:
        cells = [
            shown(
                page.measure(f"{kind}.{name}", _by_piece(page.found.of(kind), of), "lower"),
                digits=2 if name.endswith("_s") else 0,
            )
            for kind in NAMES
        ]
        rows.append((what, *cells))
    page.tables.append(Table("What it costs", ("", *NAMES.values()), tuple(rows)))


def _by_piece(pieces: Iterable[tuple[int, int, Piece]], of: Callable[[Piece], float | None]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for _, seed, piece in pieces:
        value = of(piece)
        if value is not None:
            found.setdefault(str(seed), []).append(value)
    return found


def _outages(page: Page) -> None:
    rows, times = [], []
    for kind, lost in dict.fromkeys((kind, lost) for kind, lost, _ in page.found.failures):
        runs = {seed: run for (one, other, seed), run in page.found.failures.items() if (one, other) == (kind, lost)}
        name = f"{kind}.{lost.replace(' ', '_')}"
        for phase, when in _PHASES.items():
            asked = {f"{seed} {one['key']}": one for seed, run in runs.items() for one in run["asked"] if one["phase"] == phase}
            answered = page.measure(
                f"{name}.{phase}.answered", {key: [float(one["answered"])] for key, one in asked.items()}, "higher"
            )
            found = page.measure(
                f"{name}.{phase}.with_experience", {key: [float(one["found"])] for key, one in asked.items()}, "higher"
            )
            waits = {key: [one["ttft_ms"]] for key, one in asked.items() if one["ttft_ms"] is not None}
            wait = shown(page.note(f"{name}.{phase}.ttft_p50", quantile(waits, 0.5), "lower"), digits=0) if waits else "none"
            rows.append((NAMES[kind], lost, when, str(len(asked)), shown(answered), shown(found), wait))
        cells = [
            _seconds(page, f"{name}.outage_s", {str(seed): run["outage"] for seed, run in runs.items()}, ""),
            _seconds(page, f"{name}.outage_spread_s", {str(seed): run["outage_spread"] for seed, run in runs.items()}, "lower"),
            _seconds(page, f"{name}.recovered_s", {str(seed): run["recovered"] for seed, run in runs.items()}, "lower"),
        ]
        times.append((NAMES[kind], lost, *cells))
    title = f"A node is lost: killed (SIGKILL) or hung (SIGSTOP); round trip {page.settings.outages} ms"
    columns = ("deployment", "lost", "when", "questions", "answered", "with experience", "time to first token, p50 in ms")
    page.tables.append(Table(title, columns, tuple(rows)))
    about = (
        "kept down by the test for, s",
        "what was learnt meanwhile helped the others after, s",
        "from its new start until all recall that, s",
    )
    page.tables.append(Table("What was learnt in an outage", ("deployment", "lost", *about), tuple(times)))


def _seconds(page: Page, name: str, runs: dict[str, float | None], better: Better) -> str:
    known = {seed: [value] for seed, value in runs.items() if value is not None}
    return shown(page.measure(name, known, better), digits=1) if len(known) == len(runs) else "not in 60 s"


def _crossings(page: Page, cost: Mapping[tuple[Kind, str], float]) -> None:
    rows = []
    delays = page.settings.delays
    for load in page.settings.loads:
        pairs = [(page.found.waits("p2p", delay, load), page.found.waits("server", delay, load)) for delay in delays]
        both = [of_both(*pair) for pair in pairs]
        one, other = ([[*sides[side].values()] for sides in both] for side in (0, 1))
        found = crossing_of_medians(delays, one, other)
        if found is not None:
            page.note(f"crossing.{load}.ttft_ms", found, "lower")
        rows.append((f"median time to first token, {load} load", _since(found, delays[0])))
    saved = cost["server", "query_bytes"] - max(0.0, cost["p2p", "query_bytes"])  # less than nothing is noise
    questions = breaks_even(cost["p2p", "lesson_bytes"], 0, cost["server", "lesson_bytes"], saved)
    fewer = "never" if questions is None else f"from {questions:.1f} questions for each experience"
    rows.append(("bytes over the network, but for what flows while nothing happens", fewer))
    rate = breaks_even(cost["p2p", "quiet_bytes"], 0, cost["server", "quiet_bytes"], saved)
    busier = "never" if rate is None else f"while the fleet is asked more than {rate:.2f} questions a second"
    rows.append(("bytes over the network, but for experiences", busier))
    page.tables.append(Table("Where peer to peer becomes the better", ("", "peer to peer is the better"), tuple(rows)))


def _since(crossing: Estimate | None, least: float) -> str:
    if crossing is None:
        return "at no round trip that was tried"
    if crossing.high < least + _NO_MS:
        return "at every round trip that was tried"
    return f"from a round trip of {crossing.value:.0f} ms ({crossing.low:.0f} to {crossing.high:.0f})"


def _made_up_for(page: Page, cost: Mapping[tuple[Kind, str], float]) -> None:
    """Set the model time that warming and refining cost on every node against what is waited less for answers."""
    more = {name: cost["p2p", name] - cost["server", name] for name in ("warming_s", "refining_s")}
    warm = more["warming_s"] / ((page.settings.rounds + 1) * page.settings.lessons)
    refine = more["refining_s"] / page.settings.lessons  # so many are told again
    rows = []
    for what, less_at in _waited_less(page).items():
        for delay, less in less_at.items():
            made_up = [breaks_even(cost_of_one, 0, 0, less) for cost_of_one in (warm, warm + refine)]
            cells = ["never" if questions is None else f"{questions:.1f}" for questions in made_up]
            rows.append((what, str(delay), f"{less:.3f}", *(("–", "–") if what == _FIRST_USE else cells)))
    columns = (
        "waited less for",
        "round trip, ms",
        "s",
        "questions that make up for an experience",
        "questions that make up for one that was told twice",
    )
    title = (
        f"Waiting less for model time: {warm:.2f} s to warm an experience, and {refine:.2f} s to refine one that was told twice"
    )
    page.tables.append(Table(title, columns, tuple(rows)))


def _waited_less(page: Page) -> dict[str, dict[int, float]]:
    """Return by how many seconds a peer's users wait less, by what they wait for and the round trip.

    Under the idle load a client reads an experience for the first time. What it waits for each time after that is the network.
    """

    def less(load: str) -> dict[int, float]:
        waits = {kind: {delay: _mean(page.found.waits(kind, delay, load)) for delay in page.settings.delays} for kind in NAMES}
        return {delay: (waits["server"][delay] - waits["p2p"][delay]) / 1000 for delay in page.settings.delays}

    found: dict[str, dict[int, float]] = {}
    if "idle" in page.settings.loads:
        found[_FIRST_USE] = less("idle")
        found["an idle device's later uses: the network"] = {
            delay: page.found.parts("server", delay, "idle")["network"] / 1000 for delay in page.settings.delays
        }
    if "bursty" in page.settings.loads:
        found["later uses in a burst"] = less("bursty")
    return found


def _costs_of(page: Page) -> dict[tuple[Kind, str], float]:
    return {(kind, name): mean(_by_piece(page.found.of(kind), of)).value for kind in NAMES for name, _, of in _COSTS}


def _mean(volleys: Mapping[str, Mapping[str, float]]) -> float:
    values = list(chain.from_iterable(one.values() for one in volleys.values()))
    return sum(values) / len(values)
