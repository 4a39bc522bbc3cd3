"""What happens in the experiment "serverless or server": who learns what, who asks what, and when (pure).

It is drawn from a seed alone, so that both deployments, and every delay, go through the same.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from espeer.demo.incidents import Incident
from espeer.lifecycle.essence import codes

Load = Literal["idle", "bursty"]
"""How questions come: "idle", one at a time; "bursty", several on every device at the same moment."""

WORDS: Final = {"idle": "What helps?", "bursty": "What now?", "before": "Tell me.", "down": "How so?", "after": "What then?"}
"""What is put behind a question, by when it is asked: a client keeps replies to the very same question for 15 s."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a device learns. ``again`` tells of the same in other words, as somebody else would.

    :ivar code: the fault's, which stands in no other incident.
    """

    device: int
    incident: Incident
    code: str
    again: bool = False

    @property
    def report(self) -> str:
        """What happened."""
        return self.incident.question if self.again else self.incident.report

    @property
    def attempt(self) -> str:
        """What was tried in vain."""
        return "" if self.again else self.incident.attempt


@dataclass(frozen=True, slots=True)
class Question:
    """What a device is asked; ``code`` as of a lesson."""

    device: int
    incident: Incident
    code: str


@dataclass(frozen=True, slots=True)
class Volley:
    """Questions that come at the same moment, ``at`` seconds after the first could come."""

    at: float
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """All of it.

    :ivar lessons: by round.
    :ivar again: a last round: the first round's lessons, told again by other devices in other words.
    :ivar checks: the questions that the devices choose answers for before the first round and after each one but the last:
        all incidents every time, each on a device that does not learn it.
    :ivar volleys: the questions that come when all is learnt, by load.
    """

    lessons: tuple[tuple[Lesson, ...], ...]
    again: tuple[Lesson, ...]
    checks: tuple[tuple[Question, ...], ...]
    volleys: dict[Load, tuple[Volley, ...]]

    @property
    def learnt(self) -> tuple[Lesson, ...]:
        """All lessons of the rounds."""
        return tuple(lesson for one in self.lessons for lesson in one)


def draw(
    incidents: Sequence[Incident], seed: int, *, devices: int, rounds: int, lessons: int, gap: float, at_once: int
) -> Trace:
    """Draw a trace.

    :param lessons: in each round; they go to the devices in turn.
    :param gap: mean seconds between volleys, which come at random (a Poisson process).
    :param at_once: the questions that each device gets in a volley of the bursty load.
    """
    rng = random.Random(f"serverless {seed}")  # noqa: S311 - nothing secret
    pool = rng.sample(coded(incidents), rounds * lessons)
    learnt = [Lesson(number % devices, *one) for number, one in enumerate(pool)]
    by_round = tuple(tuple(learnt[one * lessons :][:lessons]) for one in range(rounds))
    again = tuple(replace(lesson, device=(lesson.device + 1) % devices, again=True) for lesson in by_round[0])
    checks = tuple(
        tuple(Question(_other(lesson.device, one, devices), lesson.incident, lesson.code) for lesson in learnt)
        for one in range(rounds + 1)
    )
    asked = [rng.sample(pool, len(pool)) for _ in range(devices)]  # each device asks about everything once
    single = [Question(device, *asked[device][number]) for number in range(len(pool)) for device in range(devices)]
    bursts = [
        tuple(Question(device, *one) for device in range(devices) for one in asked[device][at : at + at_once])
        for at in range(0, len(pool), at_once)
    ]
    volleys: dict[Load, tuple[Volley, ...]] = {
        "idle": _spaced([(question,) for question in single], gap, rng),
        "bursty": _spaced(bursts, gap, rng),
    }
    return Trace(by_round, again, checks, volleys)


def coded(incidents: Sequence[Incident]) -> list[tuple[Incident, str]]:
    """Return the incidents whose report and question have a fault's code that no other incident has, each with that."""
    every = Counter(code for incident in incidents for code in codes(f"{incident.report} {incident.question}"))
    shared = [(incident, codes(incident.report) & codes(incident.question)) for incident in incidents]
    own = [(incident, sorted(code for code in both if every[code] == 1)) for incident, both in shared]
    return [(incident, found[0]) for incident, found in own if found]


def tells_of(text: str, code: str) -> bool:
    """Whether a text is about the incident with that code."""
    return code in codes(text)


def _other(device: int, turn: int, devices: int) -> int:
    """Return another device, one after the other."""
    return (device + 1 + turn % (devices - 1)) % devices


def _spaced(volleys: Sequence[tuple[Question, ...]], gap: float, rng: random.Random) -> tuple[Volley, ...]:
    at = 0.0
    found = []
    for questions in volleys:
        found.append(Volley(at, questions))
        at += rng.expovariate(1 / gap)
    return tuple(found)
