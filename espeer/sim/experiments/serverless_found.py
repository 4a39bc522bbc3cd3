"""What is measured in the experiment "serverless or server", as JSON keeps it (pure)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, TypedDict

Kind = Literal["p2p", "server"]
"""A deployment: peer to peer, or client-server."""

How = Literal["killed", "hung"]
"""How a node is lost: ended at once (SIGKILL), or stopped with its connections open (SIGSTOP)."""

SERVER: Final = "server"
"""The name of the node that is the server."""
PARTS: Final = ("recall", "network", "classify", "pack", "queue", "prefill")
"""The parts of the time to the first token, see :class:`espeer.timing.Timing`."""


class Asked(TypedDict):
    """A question that came.

    ``key`` names it in the trace, ``phase`` says when it came, ``volley`` with which others. Where it was not answered,
    ``ttft_ms`` is None. ``found``: what was learnt about it stood in the prompt.
    """

    key: str
    volley: int
    phase: str
    answered: bool
    ttft_ms: float | None
    timing: dict[str, float]
    found: bool


class Checked(TypedDict):
    """A question that an answer was chosen for, after so many rounds of lessons."""

    item: str
    round: int
    right: bool


class Spread(TypedDict):
    """How long it took from the acknowledgement of a lesson until every device recalled it; None: longer than was waited."""

    item: str
    seconds: float | None


class Piece(TypedDict):
    """What came of a trace.

    :ivar delivery_ms: of each record, from its making to its being stored on the last node that stores it.
    :ivar busy: by node, the seconds that its model worked during the trace, by priority; ``seconds`` is how long that was.
    :ivar quiet: bytes a second that go over the network while nothing is asked or learnt.
    :ivar query_bytes, lesson_bytes: bytes of a question, of a lesson, beyond that, until all replicas hold it.
    :ivar stored: by node, bytes of the records that it holds.
    :ivar refining: by node that holds a replica, seconds that its model worked to refine it; empty where that was left out,
        as ``checked`` is.
    """

    model: str
    asked: list[Asked]
    checked: list[Checked]
    delivery_ms: list[float]
    busy: dict[str, dict[str, float]]
    seconds: float
    quiet: float
    query_bytes: float
    lesson_bytes: float
    stored: dict[str, int]
    refining: dict[str, float]


class Failed(TypedDict):
    """What came of a trace in which a node was lost.

    :ivar outage: seconds from its loss to its new start.
    :ivar outage_spread: seconds from the acknowledgement of a lesson in the outage until all devices that are up recalled it;
        with a server, that is after it was started again.
    :ivar recovered: seconds from the new start until every device recalled what was learnt in the outage; None: not in time.
    """

    asked: list[Asked]
    outage: float
    outage_spread: float | None
    recovered: float | None


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured, by deployment, and by delay or by what was lost, and by seed.

    :ivar spreads: how soon what one device learns helps all.
    :ivar cold: by seed, peers that do not prepare in idle time, at the first delay.
    """

    pieces: dict[tuple[Kind, int, int], Piece] = field(default_factory=dict)
    failures: dict[tuple[Kind, str, int], Failed] = field(default_factory=dict)
    spreads: dict[tuple[Kind, int, int], list[Spread]] = field(default_factory=dict)
    cold: dict[int, Piece] = field(default_factory=dict)

    def of(self, kind: Kind, delay: int | None = None) -> Iterator[tuple[int, int, Piece]]:
        """Give the pieces of a deployment with their delays and seeds, at one delay or at all."""
        return ((at, seed, piece) for (one, at, seed), piece in self.pieces.items() if one == kind and delay in {None, at})

    def asked(self, kind: Kind, delay: int, load: str) -> dict[str, Asked]:
        """Return what was asked, by a key that is the same in both deployments and at every delay."""
        return {
            f"{seed} {one['key']}": one
            for _, seed, piece in self.of(kind, delay)
            for one in piece["asked"]
            if one["phase"] == load
        }

    def parts(self, kind: Kind, delay: int, load: str) -> dict[str, float]:
        """Return the parts of the time to the first token, means of what was answered, in milliseconds."""
        answered = [one["timing"] for one in self.asked(kind, delay, load).values() if one["answered"]]
        return {part: sum(timing[part] for timing in answered) / len(answered) for part in PARTS}

    def waits(self, kind: Kind, delay: int, load: str) -> dict[str, dict[str, float]]:
        """Return the times to the first token in milliseconds, of what was answered.

        By volley, and there by question: questions that come together wait for each other, so a volley is drawn as a whole.
        """
        found: dict[str, dict[str, float]] = {}
        for key, one in self.asked(kind, delay, load).items():
            if one["ttft_ms"] is not None:
                found.setdefault(f"{key.split()[0]} {one['volley']}", {})[key] = one["ttft_ms"]
        return found
