"""The episode buffer: groups interactions that belong together until they are distilled (pure; paper section 3, "frontend").

Time comes in as a number and deadlines go out as one, so that a test drives it with values.
"""

import math
from dataclasses import dataclass, field
from typing import Final

from espeer.bm25 import BM25Index
from espeer.interaction import Interaction
from espeer.lifecycle.essence import codes

SIMILARITY: Final = 0.5
"""Interactions of at least this similarity (see :func:`similarity`) belong together."""


@dataclass(frozen=True, slots=True)
class Topic:
    """What a query is about: its codes and its terms, taken once."""

    codes: frozenset[str]
    terms: frozenset[str]

    @classmethod
    def of(cls, query: str) -> "Topic":
        """Take a query apart."""
        return cls(frozenset(codes(query)), frozenset(BM25Index.tokenize(query)))


def similarity(a: Topic, b: Topic) -> float:
    """Return how much two queries are about the same thing, 0 to 1: the cosine of their sets of terms.

    Two queries that each name a code which the other lacks are about different things, however alike their words are.
    """
    if (a.codes - b.codes and b.codes - a.codes) or not a.terms or not b.terms:
        return 0.0
    return len(a.terms & b.terms) / math.sqrt(len(a.terms) * len(b.terms))


@dataclass(slots=True)
class _Open:
    topic: Topic
    due_ms: int = 0
    members: list[Interaction] = field(default_factory=list)


class EpisodeBuffer:
    """Open episodes. An interaction joins the one whose first query is the most like its own, or opens a new one.

    :param size: an episode is closed when it has this many interactions.
    :param age_ms: an episode is closed this many milliseconds after its last interaction.
    """

    def __init__(self, *, size: int, age_ms: int) -> None:
        self._size = size
        self._age_ms = age_ms
        self._open: list[_Open] = []

    def __len__(self) -> int:
        """Return the number of interactions in open episodes."""
        return sum(len(episode.members) for episode in self._open)

    def add(self, interaction: Interaction, *, now_ms: int) -> list[Interaction] | None:
        """Take an interaction in; return its episode if that closed it."""
        episode = self._place(interaction)
        episode.members.append(interaction)
        episode.due_ms = now_ms + self._age_ms
        if len(episode.members) < self._size:
            return None
        self._open.remove(episode)
        return episode.members

    def take_due(self, now_ms: int) -> list[list[Interaction]]:
        """Close the episodes whose age is up, and return them."""
        due = [episode for episode in self._open if episode.due_ms <= now_ms]
        self._open = [episode for episode in self._open if episode.due_ms > now_ms]
        return [episode.members for episode in due]

    def take_all(self) -> list[list[Interaction]]:
        """Close every episode, and return them."""
        closed, self._open = self._open, []
        return [episode.members for episode in closed]

    def next_due_ms(self) -> int | None:
        """Return when the next episode's age is up, or None where none is open."""
        return min((episode.due_ms for episode in self._open), default=None)

    def _place(self, interaction: Interaction) -> _Open:
        """A named type is kept apart from others; the first query stands for its episode, so that episodes do not drift."""
        topic = Topic.of(interaction.query)
        scored = [
            (similarity(episode.topic, topic), episode) for episode in self._open if episode.members[0].type == interaction.type
        ]
        score, best = max(scored, key=lambda pair: pair[0], default=(0.0, None))
        if best is None or score < SIMILARITY:
            best = _Open(topic)
            self._open.append(best)
        return best
