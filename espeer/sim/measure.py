"""What a run came to, from what every node holds at its end (pure)."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

OWN: Final = "own"

FIGURES: Final = (
    "records",
    "delivery",
    "missed",
    "lost",
    "died_with_disk",
    "unequal",
    "double_ids",
    "duplicates",
    "latency_p50_s",
    "latency_p99_s",
    "latency_max_s",
    "by_gossip",
    "by_sync",
    "unacknowledged",
    "kills",
    "joins",
    "errors_logged",
    "nodes_alive",
    "processes_died",
    "made_s",
    "spread_s",
    "catch_up_s",
    "catch_up_per_s",
    "catch_up_from_start_s",
    "catch_up_from_start_per_s",
    "sync_overhead",
    "recalls",
    "recalls_found",
    "recall_p50_s",
    "recall_p99_s",
    "recall_max_s",
    "crossed",
    "equal_after_s",
    "repair_intervals",
    "checks",
    "check_bytes",
    "check_rounds",
    "rss_peak_mb",
    "rss_growth_mb",
    "cpu_mean",
    "cpu_attacked",
    "cpu_after",
    "seconds",
)
"""Every figure that a scenario may expect something of; docs/scenarios.md says what each means."""


@dataclass(frozen=True, slots=True)
class Row:
    """A record in a node's store.

    :ivar created: milliseconds, by its author's clock, which on one machine is everybody's.
    :ivar received: milliseconds, when the node stored it.
    :ivar via: the way it came, see :class:`espeer.replica.Held`.
    :ivar size: bytes of its data.
    """

    id: bytes
    created: int
    received: int
    via: str
    size: int


@dataclass(frozen=True, slots=True)
class Life:
    """A node's time and what its store held at the end of it.

    :ivar up: milliseconds, when it answered for the first time.
    :ivar alive: it was there to the end.
    """

    name: str
    up: int
    alive: bool
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Made:
    """A record that must be everywhere.

    :ivar author: the node that acknowledged it; empty for what was there before the start.
    """

    id: bytes
    author: str


def percentile(values: Iterable[float], share: float) -> float | None:
    """Return the smallest value that at least ``share`` of them do not exceed (nearest rank), None where there is none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def replication(made: Sequence[Made], lives: Sequence[Life]) -> dict[str, Any]:
    """Count what was to be everywhere and is, and how long it took.

    A record whose author was killed before any other node, alive or dead, had stored it died with its author's disk: nobody
    could have saved it. Every other one must be on every living node: ``missed`` counts the pairs of record and living node
    where it is not, ``lost`` the records that no living node has.
    """
    living = [life for life in lives if life.alive]
    holders = {life.name: {row.id for row in life.rows} for life in lives}
    dead = {life.name for life in lives if not life.alive}
    died = {one.id for one in made if one.author in dead and not _elsewhere(one, holders)}
    wanted = {one.id for one in made} - died
    missing = [wanted - holders[life.name] for life in living]
    missed = sum(map(len, missing))
    everything: set[bytes] = set().union(*(holders[life.name] for life in living))
    common = everything.intersection(*(holders[life.name] for life in living))
    pairs = len(wanted) * len(living)
    return {
        "records": len(wanted),
        "nodes_alive": len(living),
        "delivery": round(1 - missed / pairs, 6) if pairs else None,
        "missed": missed,
        "lost": len(wanted - everything),
        "died_with_disk": len(died),
        "unequal": len(everything) - len(common),
        "double_ids": sum(len(life.rows) - len(holders[life.name]) for life in lives),
    }


def _elsewhere(one: Made, holders: Mapping[str, Collection[bytes]]) -> bool:
    return any(one.id in held for name, held in holders.items() if name != one.author)


def latencies(made: Sequence[Made], lives: Sequence[Life]) -> dict[str, Any]:
    """Measure from a record's creation to its being stored on each other node that is alive and was up when it was created."""
    told = {one.id for one in made if one.author}
    arrivals = [
        row for life in lives if life.alive for row in life.rows if row.id in told and row.via != OWN and life.up <= row.created
    ]
    seconds = sorted((row.received - row.created) / 1000 for row in arrivals)
    return {
        "latency_p50_s": percentile(seconds, 0.5),
        "latency_p99_s": percentile(seconds, 0.99),
        "latency_max_s": seconds[-1] if seconds else None,
        "by_gossip": sum(row.via == "gossip" for row in arrivals),
        "by_sync": sum(row.via == "sync" for row in arrivals),
    }


def spread(began: int, lives: Sequence[Life]) -> float | None:
    """Return the seconds from ``began`` (milliseconds) to the last arrival on a living node of what came after it."""
    return _until_last(began, (row.received for life in lives if life.alive for row in life.rows))


def making(began: int, lives: Sequence[Life]) -> float | None:
    """Return the seconds from ``began`` (milliseconds) to the last record that a living node made after it."""
    return _until_last(began, (row.created for life in lives if life.alive for row in life.rows if row.via == OWN))


@dataclass(frozen=True, slots=True)
class Cut:
    """A partition that was.

    :ivar began, healed: milliseconds.
    :ivar first: the nodes of one side.
    """

    began: int
    healed: int
    first: frozenset[str]


def crossed(cut: Cut, made: Sequence[Made], lives: Sequence[Life]) -> int:
    """Count arrivals on one side of what the other side made, both while there was no way across: there must be none."""
    sides = {one.id: one.author in cut.first for one in made if one.author}
    return sum(
        cut.began <= row.created and row.received < cut.healed and sides.get(row.id, here) is not here
        for life in lives
        for here in [life.name in cut.first]
        for row in life.rows
    )


def _until_last(began: int, times: Iterable[int]) -> float | None:
    last = max(times, default=began - 1)
    return (last - began) / 1000 if last >= began else None


def catch_up(joiner: Life, launched: int, *, synced_bytes: int | None) -> dict[str, Any]:
    """Measure how a late joiner came by what was there before it.

    :param launched: milliseconds, when its process was started.
    :param synced_bytes: what sync sent and received, where the node counts that.
    """
    missing = [row for row in joiner.rows if row.via != OWN]
    if not missing:
        return {}
    first, last = min(row.received for row in missing), max(row.received for row in missing)
    took, from_start = max(last - first, 1) / 1000, max(last - launched, 1) / 1000
    return {
        "catch_up_s": took,
        "catch_up_per_s": round(len(missing) / took, 1),
        "catch_up_from_start_s": from_start,
        "catch_up_from_start_per_s": round(len(missing) / from_start, 1),
        "sync_overhead": None if synced_bytes is None else round(synced_bytes / sum(row.size for row in missing), 3),
    }


@dataclass(frozen=True, slots=True)
class Recalled:
    """A query that a node was asked.

    :ivar asked: milliseconds, when.
    :ivar seconds: how long it took.
    :ivar found: how many experiences fitted.
    """

    node: str
    asked: int
    seconds: float
    found: int


def recalls(asked: Sequence[Recalled], joiners: Mapping[str, Life]) -> dict[str, Any]:
    """Sum up how long queries took; of a late joiner, only those that were asked before its last missing record was there."""
    caught_up = {name: max((row.received for row in life.rows if row.via != OWN), default=0) for name, life in joiners.items()}
    counted = [one for one in asked if one.asked <= caught_up.get(one.node, one.asked)]
    rounded = [round(one.seconds, 4) for one in counted]
    return {
        "recalls": len(counted),
        "recalls_found": sum(one.found > 0 for one in counted),
        "recall_p50_s": percentile(rounded, 0.5),
        "recall_p99_s": percentile(rounded, 0.99),
        "recall_max_s": max(rounded, default=None),
    }


def checks(before: Sequence[Mapping[str, int]], after: Sequence[Mapping[str, int]]) -> dict[str, Any]:
    """Divide what sync cost on all nodes between two readings of their counters by the checks that it finished."""

    def grown(name: str) -> int | None:
        if not all(name in reading for reading in (*before, *after)):
            return None
        return sum(reading[name] for reading in after) - sum(reading[name] for reading in before)

    finished, rounds = grown("sync_checks"), grown("sync_rounds")
    sent, received = grown("sync_bytes_out"), grown("sync_bytes_in")
    if not finished or rounds is None or sent is None or received is None:
        return {"checks": finished}
    return {
        "checks": finished,
        "check_rounds": round(rounds / finished, 3),
        "check_bytes": round((sent + received) / finished, 1),
    }
