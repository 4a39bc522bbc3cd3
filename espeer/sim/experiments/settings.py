"""Experiments as TOML: what is common to all, and which there are (pure)."""

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from espeer.errors import ConfigError
from espeer.sim import reading
from espeer.sim.reading import build, number, numbers, text, texts

MAX_SEED: Final = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What every experiment is told.

    :ivar experiment: which one.
    :ivar name: of this scenario; its results are kept under it.
    :ivar about: what is shown, in a sentence or two.
    :ivar seeds: each is done with each of them.
    :ivar model: as `espeer node --model`; empty for the default model.
    :cvar MORE_WORK: the settings that only say how much is done. With others the work is other work, and begins anew.
    """

    MORE_WORK: ClassVar[frozenset[str]] = frozenset({"name", "about", "seeds"})

    experiment: str = text(r"[a-z]{1,32}")
    name: str = text(r"[a-z0-9-]{1,64}")
    about: str = text(r"(?s).{1,2000}")
    seeds: tuple[int, ...] = numbers(0, MAX_SEED, 32, (1, 2, 3))
    model: str = text(r"[ -~]{0,500}", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Generalised(Settings):
    """Whether what is learnt from some questions of a topic helps with others (paper: "generalised experience").

    :ivar subjects: MMLU subjects, ``sciq``, ``incidents``.
    :ivar share: of the questions, to learn from.
    :ivar most: the most questions of a subject.
    :ivar k: how many experiences, or interactions, go into a prompt.
    :ivar support: tell the learner a sentence of what is known (SciQ's passage, an incident's report), not the answer alone.
    """

    MORE_WORK: ClassVar[frozenset[str]] = Settings.MORE_WORK | {"subjects"}

    subjects: tuple[str, ...] = texts(r"[a-z0-9_]{1,64}", 64)
    share: float = number(0.05, 0.95, 0.8)
    most: int = number(10, 100_000, 400)
    k: int = number(1, 16, 3)
    support: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Repetitive(Settings):
    """Whether several clients that are asked about the same topic again and again get better (paper: "repetitive experience").

    All of it is only more work: each prompt that the model is shown is a piece of its own.

    :ivar subjects: MMLU subjects, ``sciq``, ``incidents``.
    :ivar most: the most questions of a subject.
    :ivar clients: how many ask.
    :ivar epochs: how often each asks, its own share of the questions each time.
    :ivar share: of a subject's questions, what a client asks in an epoch.
    :ivar k: how many experiences go into a prompt.
    :ivar support: tell the learner a sentence of what is known (SciQ's passage, an incident's report), not the answer alone.
    """

    MORE_WORK: ClassVar[frozenset[str]] = Settings.MORE_WORK | {
        "subjects",
        "most",
        "clients",
        "epochs",
        "share",
        "k",
        "support",
    }

    subjects: tuple[str, ...] = texts(r"[a-z0-9_]{1,64}", 64)
    most: int = number(4, 10_000, 40)
    clients: int = number(2, 16, 4)
    epochs: int = number(2, 32, 4)
    share: float = number(0.05, 1, 0.25)
    k: int = number(1, 16, 3)
    support: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity(Settings):
    """How much hangs on BM25's parameters and on how much is recalled.

    :ivar collections: ``scifact``, ``cranfield``; or questions with what is known about each, ``sciq`` or ``incidents``.
    :ivar k1, b: the grid; the default is always in it.
    :ivar queries: the most of a collection that are asked.
    :ivar subjects: MMLU subjects, ``sciq``, ``incidents``.
    :ivar ks: how many experiences go into a prompt; the default is always among them.
    :ivar share, most, support: as :class:`Generalised`.
    """

    MORE_WORK: ClassVar[frozenset[str]] = Settings.MORE_WORK | {"collections", "k1", "b", "queries", "subjects", "ks"}

    collections: tuple[str, ...] = texts(r"[a-z0-9_]{1,64}", 16)
    k1: tuple[float, ...] = numbers(0, 100, 16, (0.5, 0.9, 1.2, 1.5, 2.0, 3.0))
    b: tuple[float, ...] = numbers(0, 1, 16, (0.0, 0.25, 0.5, 0.75, 1.0))
    queries: int = number(10, 100_000, 1000)
    subjects: tuple[str, ...] = texts(r"[a-z0-9_]{1,64}", 64)
    ks: tuple[int, ...] = numbers(0, 16, 16, (0, 1, 2, 3, 5, 8))
    share: float = number(0.05, 0.95, 0.6)
    most: int = number(10, 100_000, 100)
    support: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Native(Settings):
    """Recall by the model's own vectors, and reading by kept KV states, against text (paper: "LLM-native representations").

    :ivar sources: what is recalled from: ``cranfield``, ``scifact``, ``sciq``, ``incidents``.
    :ivar queries: the most queries of each.
    :ivar others: beside the documents that answer a query, so many that answer none; each seed draws others.
    :ivar questions: of ``sciq`` and ``incidents``, so many queries are answered with each seed.
    :ivar timed: so many of them have their time to first token measured, with the first seed.
    :ivar ks: with so many experiences in the prompt.
    """

    MORE_WORK: ClassVar[frozenset[str]] = Settings.MORE_WORK | {"sources", "queries", "others", "questions", "timed", "ks"}

    sources: tuple[str, ...] = texts(r"cranfield|scifact|sciq|incidents", 4)
    queries: int = number(4, 2000, 100)
    others: int = number(10, 10_000, 100)
    questions: int = number(2, 1000, 32)
    timed: int = number(1, 1000, 24)
    ks: tuple[int, ...] = numbers(1, 16, 8, (1, 3, 5))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation(Settings):
    """How much hangs on the prompts of distillation and condensation.

    :ivar subjects: MMLU subjects, ``sciq``, ``incidents``.
    :ivar learn, ask, again: with each seed, how many questions of a subject are learnt from, how many others are asked, and how
        many of the former are asked again.
    :ivar k: how many experiences go into a prompt.
    :ivar support: tell the learner the sentence of what is known that is most to the point, not the answer alone.
    :ivar distilling, condensing: the variants, see :mod:`espeer.sim.experiments.manners`; "current" must be among them.
    :ivar groups: the most groups of texts that are condensed.
    """

    MORE_WORK: ClassVar[frozenset[str]] = Settings.MORE_WORK | {"subjects", "again", "distilling", "condensing", "groups"}

    subjects: tuple[str, ...] = texts(r"[a-z0-9_]{1,64}", 64)
    learn: int = number(1, 100_000, 20)
    ask: int = number(1, 100_000, 14)
    again: int = number(1, 100_000, 14)
    k: int = number(1, 16, 3)
    support: bool = True
    distilling: tuple[str, ...] = texts(r"[a-z-]{1,32}", 16)
    condensing: tuple[str, ...] = texts(r"[a-z-]{1,32}", 16)
    groups: int = number(0, 100_000, 12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Serverless(Settings):
    """Whether peers can replace the server (the paper's open question), on the incidents that ship with espeer.

    :ivar devices: nodes that learn and are asked; client-server has a server beside them.
    :ivar delays: round trips between any two nodes, in milliseconds.
    :ivar loads: how questions come: ``idle``, one at a time; ``bursty``, several on every device at the same moment.
    :ivar rounds, lessons: how many incidents are learnt, so many in each of the rounds.
    :ivar gap: mean seconds from one question, or burst, to the next.
    :ivar at_once: the questions that each device gets in a burst.
    :ivar calm: seconds without work after which models count as prepared for what was learnt.
    :ivar quiet: seconds for which the network is listened to while nothing happens; a repair round comes every 20.
    :ivar outages: the round trip, in milliseconds, at which nodes are lost.
    :ivar lost: what, and how, one after the other: a peer, the server or a client, killed (SIGKILL) or hung (SIGSTOP).
    """

    MORE_WORK: ClassVar[frozenset[str]] = Settings.MORE_WORK | {"delays", "outages", "lost"}

    devices: int = number(2, 8, 4)
    delays: tuple[int, ...] = numbers(0, 2000, 16, (0, 20, 50, 100, 200))
    loads: tuple[str, ...] = texts("idle|bursty", 2, ("idle", "bursty"))
    rounds: int = number(1, 8, 3)
    lessons: int = number(1, 9, 2)
    gap: float = number(0.01, 60, 0.3)
    at_once: int = number(1, 8, 2)
    calm: float = number(0, 60, 5.5)
    quiet: float = number(0.1, 60, 3.0)
    outages: int = number(0, 2000, 50)
    lost: tuple[str, ...] = texts("(peer|server|client) (killed|hung)", 6, ("peer killed", "server killed", "server hung"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Endurance(Settings):
    """A node in use for a long time (paper's reviewers: accuracy, growth, refinement frequency and cost over 1,000 queries).

    :ivar subjects: MMLU subjects, ``sciq``, ``incidents``, in equal parts.
    :ivar queries: with each seed.
    :ivar different: so many questions they are drawn from, all subjects together.
    :ivar window: so many queries are looked at together.
    :ivar k: how many experiences go into a prompt.
    :ivar support: tell the node a sentence of what is known, not the answer alone.
    :ivar refine_after, threshold, max_records: the node's, see :class:`espeer.Config`.
    :ivar refine_every: also ask for a refinement after so many queries; 0 leaves that to the node.
    :ivar rest, rest_every: for so many seconds, after every so many queries, nothing is asked; every 30 s a node looks whether
        there is something to refine.
    """

    MORE_WORK: ClassVar[frozenset[str]] = Settings.MORE_WORK | {"queries", "window"}

    subjects: tuple[str, ...] = texts(r"[a-z0-9_]{1,64}", 64)
    queries: int = number(4, 100_000, 1000)
    different: int = number(4, 100_000, 400)
    window: int = number(4, 10_000, 100)
    k: int = number(0, 16, 3)
    support: bool = True
    refine_after: int = number(1, 100_000, 100)
    threshold: float = number(0.05, 1, 0.6)
    max_records: int = number(1, 100_000, 500)
    refine_every: int = number(0, 100_000, 0)
    rest: float = number(0, 3600, 0.0)
    rest_every: int = number(1, 100_000, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refined(Settings):
    """What refinement does to a store in which everything stands about a hundred times (paper: "refined experience").

    Six questions to learn from in six wordings, eight others, and eight thresholds cost about 45 condensations for each subject
    and seed, 24 wordings, and 70 prompts to choose by, since many stores recall the same: 7 minutes on two cores with a model
    of 1.5 billion parameters (4 s for a condensation, 3 s for a wording, 2 s for a choice). It grows with ``train`` times the
    number of thresholds.

    :ivar subjects: as for :class:`Generalised`.
    :ivar most: so many of a subject's questions are used, the same ones for every seed.
    :ivar train, test: so many of these are learnt from, and so many others asked; which ones is drawn by the seed.
    :ivar iterations: how often each experience is stored.
    :ivar wordings: in so many different wordings.
    :ivar written: so many of these the model is asked for; all others are made by rule.
    :ivar raw, normalised: thresholds, on either scale; see :data:`espeer.scale.Scale`.
    :ivar k: how many experiences go into a prompt.
    :ivar support: as for :class:`Generalised`.
    """

    MORE_WORK: ClassVar[frozenset[str]] = Settings.MORE_WORK | {"subjects", "raw", "normalised"}

    subjects: tuple[str, ...] = texts(r"[a-z0-9_]{1,64}", 64)
    most: int = number(4, 100_000, 36)
    train: int = number(2, 10_000, 6)
    test: int = number(2, 10_000, 8)
    iterations: int = number(1, 1_000, 100)
    wordings: int = number(1, 1_000, 6)
    written: int = number(0, 100, 4)
    raw: tuple[float, ...] = numbers(1, 10_000, 32, (3.0, 10.0, 20.0, 100.0))
    normalised: tuple[float, ...] = numbers(0.01, 1, 32, (0.1, 0.3, 0.6, 0.9))
    k: int = number(1, 16, 3)
    support: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """A time without a way between some of the nodes and the others.

    :ivar at_s: seconds after the work has begun, and ``seconds`` for how long.
    :ivar share: of the nodes, on the one side.
    """

    at_s: float = number(0, 86_400)
    seconds: float = number(1, 86_400)
    share: float = number(0.01, 0.99, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale(Settings):
    """Fleets of the real node on a virtual clock: what becomes of time, traffic and work as they grow.

    :ivar nodes: the sizes of the fleets.
    :ivar minutes: simulated minutes of work, after all nodes are there.
    :ivar latency_ms: median milliseconds one way between two nodes; ``latency_spread`` the sigma of its logarithm.
    :ivar loss: share of what is sent that is lost: of gossip for good, of streams to be sent again.
    :ivar mbit: megabits a second of a connection.
    :ivar hop_ms: milliseconds in which a node deals with what it was sent.
    :ivar learns_per_minute, asks_per_minute: of the whole fleet.
    :ivar churn: share of the nodes that go in an hour; a new one comes for each.
    :ivar partitions: times without a way between parts of the fleet.
    :ivar repeats: how often each fault is learnt of, in other words, on average.
    :ivar refine_after, repair_interval, warming: as :class:`espeer.Config`.
    :ivar profile: a file of `espeer model bench --profile`; empty for that of the default model.
    :ivar real: so many real processes, with the real model, are put through the same as so many simulated; 0 for none.
    :ivar real_minutes, real_learns_per_minute, real_asks_per_minute: what they are put through.
    """

    MORE_WORK: ClassVar[frozenset[str]] = Settings.MORE_WORK | {"nodes"}

    nodes: tuple[int, ...] = numbers(2, 10_000, 16, (10, 100, 1000))
    minutes: float = number(0.5, 1440, 60.0)
    latency_ms: float = number(0, 10_000, 40.0)
    latency_spread: float = number(0, 2, 0.5)
    loss: float = number(0, 0.9, 0.01)
    mbit: float = number(0.01, 100_000, 20.0)
    hop_ms: float = number(0, 1000, 5.0)
    learns_per_minute: float = number(0, 10_000, 5.0)
    asks_per_minute: float = number(0, 10_000, 30.0)
    churn: float = number(0, 10, 0.1)
    partitions: tuple[Partition, ...] = dataclasses.field(default=(), metadata={"longest": 8})
    repeats: float = number(1, 100, 3.0)
    refine_after: int = number(1, 100_000, 100)
    repair_interval: float = number(1, 3600, 20.0)
    warming: bool = False
    profile: str = text(r"[ -~]{0,500}", "")
    real: int = number(0, 64, 8)
    real_minutes: float = number(0.2, 60, 5.0)
    real_learns_per_minute: float = number(0, 1000, 6.0)
    real_asks_per_minute: float = number(0, 1000, 10.0)


KINDS: Final[Mapping[str, type[Settings]]] = {
    "ablation": Ablation,
    "endurance": Endurance,
    "generalised": Generalised,
    "native": Native,
    "refined": Refined,
    "repetitive": Repetitive,
    "scale": Scale,
    "sensitivity": Sensitivity,
    "serverless": Serverless,
}
"""The experiments, by name."""


def is_experiment(document: str) -> bool:
    """Whether a TOML file is of an experiment; one that is not TOML, or of a fleet's scenario, is not."""
    try:
        return "experiment" in tomllib.loads(document)
    except (ValueError, RecursionError):
        return False


def parse(document: str, *, quick: bool = False) -> Settings:
    """Read an experiment's scenario.

    :param quick: take its smaller form: what ``[quick]`` holds stands in place of what the rest of the file says.
    :raises ConfigError: it is not TOML, or breaks a rule; the message names the key.
    """
    return reading.parse(document, _read, quick=quick)


def _read(table: Mapping[str, Any]) -> Settings:
    kind = KINDS.get(str(table.get("experiment")))
    if kind is None:
        raise ConfigError(f"experiment is {table.get('experiment')!r}; give one of {', '.join(KINDS)}")
    return build(kind, table, "")
