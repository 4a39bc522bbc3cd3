"""What came out of the demo, and how it is counted (pure)."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Final

from espeer.demo.incidents import NOBODY, Incident

_Z95: Final = 1.96


@dataclass(frozen=True, slots=True)
class Tally:
    """How many of a group's questions were answered right.

    :ivar learner: who learnt the incidents: a device's name or :data:`espeer.demo.incidents.NOBODY`.
    """

    learner: str
    questions: int
    right_before: int
    right_after: int


@dataclass(frozen=True, slots=True)
class Answered:
    """One question with C's two answers to it (see :func:`espeer.api.views.choice`)."""

    learner: str
    incident: Incident
    before: dict[str, Any]
    after: dict[str, Any]

    @property
    def right_before(self) -> bool:
        """Whether C was right without experience."""
        return bool(self.before["index"] == self.incident.answer)

    @property
    def right_after(self) -> bool:
        """Whether C was right with experience."""
        return bool(self.after["index"] == self.incident.answer)


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that was measured.

    :ivar quiz: the questions asked, each with who learnt its incident.
    :ivar before: C's answers to them without experience.
    :ivar after: C's answers with experience.
    :ivar first_tokens_ms: milliseconds from question to first piece of an answer, with experience.
    :ivar methods: for each learner, how many of its experiences came about by each method.
    :ivar names: the devices' names by peer id.
    """

    quiz: Sequence[tuple[str, Incident]]
    before: Sequence[dict[str, Any]]
    after: Sequence[dict[str, Any]]
    first_tokens_ms: Sequence[float]
    methods: dict[str, dict[str, int]]
    names: dict[str, str]

    @property
    def ttft_p50_ms(self) -> float:
        """Median time to first token."""
        return statistics.median(self.first_tokens_ms)

    def answered(self) -> Iterator[Answered]:
        """Give each question with its answers."""
        for (learner, incident), before, after in zip(self.quiz, self.before, self.after, strict=True):
            yield Answered(learner, incident, before, after)

    def tallies(self) -> list[Tally]:
        """Count by who learnt the incidents."""
        found = []
        for name in dict.fromkeys(learner for learner, _ in self.quiz):
            group = [one for one in self.answered() if one.learner == name]
            right_before, right_after = (
                sum(flags) for flags in zip(*((a.right_before, a.right_after) for a in group), strict=True)
            )
            found.append(Tally(name, len(group), right_before, right_after))
        return found

    def turned(self) -> Answered | None:
        """Return the first answer that an experience turned from wrong to right."""
        turned = (
            one
            for one in self.answered()
            if one.learner != NOBODY and not one.right_before and one.right_after and one.after["experiences"]
        )
        return next(turned, None)

    def summary(self) -> dict[str, Any]:
        """Sum up over what was learnt by somebody; what nobody learnt stands beside it."""
        tallies = self.tallies()
        learnt = [tally for tally in tallies if tally.learner != NOBODY]
        questions = sum(tally.questions for tally in learnt)
        return {
            "accuracy_before": round(sum(tally.right_before for tally in learnt) / questions, 4),
            "accuracy_after": round(sum(tally.right_after for tally in learnt) / questions, 4),
            "ttft_p50_ms": round(self.ttft_p50_ms, 1),
            "nodes": len(self.names),
            "groups": [
                {"learner": t.learner, "questions": t.questions, "right_before": t.right_before, "right_after": t.right_after}
                for t in tallies
            ],
            "methods": self.methods,
        }


def interval(right: int, questions: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share (Wilson 1927), which is sound for small numbers and shares near 0 and 1."""
    if not questions:
        return 0.0, 1.0
    share, square = right / questions, _Z95**2
    centre = share + square / (2 * questions)
    spread = _Z95 * sqrt(share * (1 - share) / questions + square / (4 * questions**2))
    scale = 1 + square / questions
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
