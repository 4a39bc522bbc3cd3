"""What a node tells Prometheus, as metric families (pure).

Names and units as Prometheus' conventions have them: seconds and bytes, ``_total`` behind what only grows. No label has a
value for each peer, record or path: what a stranger can make more of must not make more series.
"""

import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, get_args

from prometheus_client.core import CounterMetricFamily, Exemplar, GaugeMetricFamily, HistogramMetricFamily, Metric

from espeer.asking import Ending
from espeer.events import Answered, Event, Linked, Recorded, Refined
from espeer.status import Status

if TYPE_CHECKING:
    from espeer.p2p.swarm import PeerView

FIRST_TOKEN_BOUNDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
DURATION_BOUNDS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
SCORES: Final = (1, 25, 50, 75)
"""Scores of peers; at 100 one is banned."""
VIAS: Final = ("own", "gossip", "sync", "submit", "import", "refined")

NETWORK: Final[Mapping[str, tuple[str, str]]] = {
    "published": ("gossip_published_records", "Records given to gossip."),
    "delivered": ("gossip_delivered_records", "Records that gossip brought and that were new."),
    "dropped": ("gossip_dropped_records", "Records not gossiped or not taken from gossip because a queue was full."),
    "rejected": ("gossip_rejected_messages", "Gossip messages that broke a rule and were not passed on."),
    "replayed": ("gossip_replayed_messages", "Gossip messages that brought nothing but what gossip had brought before."),
    "duplicates": ("network_duplicate_records", "Records that came from the network, by whatever way, and were known already."),
    "synced_in": ("sync_received_records", "Records that sync brought and that were new."),
    "synced_out": ("sync_sent_records", "Records sent to peers by sync."),
    "sync_checks": ("sync_checks", "Comparisons of a type with a peer that came to their end."),
    "sync_rounds": ("sync_rounds", "Messages of ours, each answered, that the comparisons took."),
    "sync_bytes_in": ("sync_received_bytes", "Bytes received by sync, without what libp2p adds."),
    "sync_bytes_out": ("sync_sent_bytes", "Bytes sent by sync, without what libp2p adds."),
    "circuits": ("relay_circuits", "Circuits joined for others as a relay."),
    "relayed": ("relay_carried_bytes", "Bytes carried for others as a relay."),
    "offences": ("peer_offences", "What peers did wrong."),
    "bans": ("peer_bans", "Peers thrown out and kept out for a while."),
    "asked": ("remote_recalls_asked", "Recalls that peers answered for this node."),
    "answered": ("remote_recalls_answered", "Recalls that this node answered for peers."),
    "accepted": ("submissions_accepted_records", "Records taken from clients, those known already among them."),
    "submitted": ("submissions_sent_records", "Records that a server took from this client."),
}
"""Of each counter of :class:`espeer.p2p.door.Counters`: the metric's name, without ``espeer_`` and ``_total``, and its help."""

CACHE_TOTALS: Final[Mapping[str, tuple[str, str]]] = {
    "hits": ("kv_cache_hits", "Kept states of the model that were found in memory."),
    "restored": ("kv_cache_restored", "Kept states that were found on disk."),
    "misses": ("kv_cache_misses", "States that were kept nowhere and had to be worked out."),
    "evictions": ("kv_cache_evictions", "States that had to leave memory for others."),
    "spilled": ("kv_cache_spilled", "States written to disk."),
    "disk_damaged": ("kv_disk_damaged_files", "Files of states that were damaged and thrown away."),
}
CACHE_GAUGES: Final[Mapping[str, tuple[str, str]]] = {
    "entries": ("kv_cache_entries", "States that the model keeps in memory."),
    "bytes": ("kv_cache_size_bytes", "Bytes of the states in memory."),
    "disk_entries": ("kv_disk_entries", "States on disk."),
    "disk_bytes": ("kv_disk_size_bytes", "Bytes of the states on disk."),
}


def _counter(name: str, help: str, value: float) -> Metric:
    return CounterMetricFamily(f"espeer_{name}", help, value=value)


def _counters(name: str, help: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(f"espeer_{name}", help, labels=[label])
    for of, value in values.items():
        family.add_metric([of], value)
    return family


def _gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(f"espeer_{name}", help, value=value)


def _gauges(name: str, help: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]) -> Metric:
    family = GaugeMetricFamily(f"espeer_{name}", help, labels=labels)
    for of, value in values:
        family.add_metric(of, value)
    return family


class Histogram:
    """Counts values within bounds. Each bucket keeps its last value that has an exemplar: where to look for one such.

    :param bounds: the upper bounds of the buckets, ascending, without the last, which is infinite.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = (*bounds, float("inf"))
        self._counts = [0] * len(self._bounds)
        self._exemplars: list[Exemplar | None] = [None] * len(self._bounds)
        self._sum = 0.0

    def observe(self, value: float, exemplar: Exemplar | None) -> None:
        """Count a value."""
        place = next(place for place, bound in enumerate(self._bounds) if value <= bound)
        self._counts[place] += 1
        self._sum += value
        self._exemplars[place] = exemplar or self._exemplars[place]

    def family(self, name: str, help: str) -> Metric:
        """Return it as a metric family."""
        buckets: list[Any] = []
        total = 0
        for bound, count, exemplar in zip(self._bounds, self._counts, self._exemplars, strict=True):
            total += count
            shown = "+Inf" if bound == float("inf") else repr(bound)
            buckets.append((shown, total, exemplar) if exemplar else (shown, total))
        return HistogramMetricFamily(f"espeer_{name}", help, buckets=buckets, sum_value=self._sum)


class Meter:
    """Counts what happens in a node, from when it is up."""

    def __init__(self) -> None:
        self._first_token = Histogram(FIRST_TOKEN_BOUNDS)
        self._duration = Histogram(DURATION_BOUNDS)
        self._finishes = Counter[str](dict.fromkeys(_endings(), 0))
        self._sums = Counter[str]()
        self._recorded = Counter[tuple[str, str]]({("experience", via): 0 for via in VIAS} | {("retraction", "own"): 0})
        self._refining_seconds = self._writing_seconds = 0.0

    def hear(self, event: Event) -> None:
        """Count an event."""
        match event:
            case Answered():
                self._answered(event)
            case Recorded():
                self._recorded[event.kind, event.via] += 1
            case Refined():
                self._refining_seconds += event.seconds
                self._sums.update(runs=1, condensed=event.condensed, merged=event.merged, evicted=event.evicted)
            case Linked():
                self._sums["connected" if event.connected else "disconnected"] += 1

    def _answered(self, event: Answered) -> None:
        seconds, first = event.elapsed_ms / 1000, event.ttft_ms / 1000
        exemplar = None if event.answer is None else Exemplar({"answer": str(event.answer)}, first)
        self._first_token.observe(first, exemplar)
        self._duration.observe(seconds, exemplar and exemplar._replace(value=seconds))
        self._finishes[event.finish] += 1
        self._writing_seconds += max(0.0, seconds - first)
        self._sums.update(
            augmented=bool(event.used),
            experiences=len(event.used),
            prompt_tokens=event.prompt_tokens,
            answer_tokens=event.answer_tokens,
        )

    def collect(self) -> Iterator[Metric]:
        """Return what was counted."""
        sums = self._sums
        yield _counters("answers", "Questions answered, by why the answer ended.", "finish", self._finishes)
        yield _counter("answers_augmented", "Answers with experiences in the prompt.", sums["augmented"])
        yield _counter("answer_experiences", "Experiences in the prompts of answers.", sums["experiences"])
        yield _counter("prompt_tokens", "Tokens of the prompts of answers.", sums["prompt_tokens"])
        yield _counter("answer_tokens", "Tokens of answers.", sums["answer_tokens"])
        yield _counter(
            "answer_writing_seconds",
            "Seconds from the first token of answers to their last: answer_tokens over these is the speed of writing.",
            self._writing_seconds,
        )
        yield self._first_token.family(
            "answer_first_token_seconds", "Seconds from a question to the first token of its answer."
        )
        yield self._duration.family("answer_duration_seconds", "Seconds from a question to the end of its answer.")
        added = CounterMetricFamily(
            "espeer_records_added", "Records that came into the replica, by kind and the way they came.", labels=["kind", "via"]
        )
        for of, number in sorted(self._recorded.items()):
            added.add_metric(of, number)
        yield added
        yield _counter("refinement_runs", "Refinement runs that ended.", sums["runs"])
        yield _counter("refinement_seconds", "Seconds that refinement runs took.", self._refining_seconds)
        yield _counter("refinement_condensed_groups", "Groups of experiences condensed into a new one.", sums["condensed"])
        yield _counter("refinement_merged_groups", "Groups that one of their own members stands for.", sums["merged"])
        yield _counter("refinement_evicted_records", "Experiences evicted because there was no room.", sums["evicted"])
        yield _counter("peer_connections", "Peers that were connected.", sums["connected"])
        yield _counter("peer_disconnections", "Peers that went.", sums["disconnected"])


def _endings() -> Iterator[str]:
    for part in get_args(Ending):
        yield from get_args(part)


def of_status(status: Status) -> Iterator[Metric]:
    """Tell of a node's status. What a node of its kind does not have is left out: a network offline, say."""
    labels = {
        "version": status.version,
        "model": status.model,
        "role": status.role,
        "network": status.network_name,
        "python": platform.python_version(),
    }
    yield _gauges("build_info", "Always 1; its labels say what runs.", list(labels), [(list(labels.values()), 1)])
    yield _gauges(
        "records",
        "Experiences in the store, by topic type and state.",
        ("type", "state"),
        [((type_, state), number) for type_, state, number in status.records],
    )
    yield _gauges(
        "own_experiences",
        "Experiences that this node signed, by how they came about.",
        ("method",),
        [((method,), number) for method, number in status.methods.items()],
    )
    yield _gauge("interactions", "Interactions in the store.", status.interactions)
    yield _gauge("store_size_bytes", "Bytes of the store's database, free pages aside.", status.store_bytes)
    yield _gauge("learning_backlog", "Interactions and episodes that are not distilled yet.", status.learning)
    yield _gauge("submission_backlog", "A client's experiences that no server has yet.", status.queued)
    yield _gauges(
        "model_requests_waiting",
        "Requests that wait for the model, by priority.",
        ("priority",),
        [((priority,), number) for priority, number in status.waiting_by_priority.items()],
    )
    yield _counters(
        "model_busy_seconds",
        "Seconds that the model has worked, by the priority of the requests: their rate is its utilisation.",
        "priority",
        status.busy_by_priority,
    )
    for key, (name, what) in NETWORK.items():
        if key in status.network:
            yield _counter(name, what, status.network[key])
    for key, (name, what) in CACHE_TOTALS.items():
        if key in status.engine:
            yield _counter(name, what, status.engine[key])
    for key, (name, what) in CACHE_GAUGES.items():
        if key in status.engine:
            yield _gauge(name, what, status.engine[key])


def of_peers(peers: "Sequence[PeerView]", types: Sequence[str]) -> Iterator[Metric]:
    """Tell of the connected peers: how many, never which."""
    scores = [peer.score for peer in peers]
    yield _gauge("peers", "Connected peers.", len(peers))
    yield _gauges(
        "topic_peers",
        "Connected peers that hold a topic type.",
        ("type",),
        [((name,), sum(name in peer.types for peer in peers)) for name in types],
    )
    yield _gauges(
        "mesh_peers",
        "Peers in the gossip mesh of a topic type.",
        ("type",),
        [((name,), sum(name in peer.mesh for peer in peers)) for name in types],
    )
    yield _gauge("peer_score_max", "Score of the worst connected peer: 0 is good, at 100 it is banned.", max(scores, default=0))
    yield _gauges(
        "peers_at_score",
        "Connected peers with at least a score.",
        ("score",),
        [((str(score),), sum(found >= score for found in scores)) for score in SCORES],
    )
