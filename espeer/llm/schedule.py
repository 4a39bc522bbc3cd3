"""Which requests a model works on next (pure)."""

from collections import Counter
from enum import IntEnum
from typing import Final, Generic, Protocol, TypeVar

from espeer.errors import QueueFull


class Priority(IntEnum):
    """How urgent a request is; a lower number comes first."""

    INTERACTIVE = 0
    DISTIL = 1
    REFINE = 2
    WARM = 3


class Urgent(Protocol):
    """What can be put into a schedule."""

    @property
    def priority(self) -> Priority:
        """How urgent it is; never changes."""


J = TypeVar("J", bound=Urgent)


class Schedule(Generic[J]):
    """The jobs that are not over, and whose turn it is.

    The interactive ones go on together. While there is none, the one most urgent other goes on alone: nobody waits for it, and
    the fewer are begun, the less room they take. A job that was overtaken keeps its place.

    :param width: the most interactive jobs that go on together.
    :param max_waiting: the most jobs that may wait. Less urgent ones are not counted, so background work never keeps an
        interactive request out.
    """

    def __init__(self, *, width: int, max_waiting: int) -> None:
        self._width: Final = width
        self._max_waiting: Final = max_waiting
        self._jobs: list[J] = []
        self._withdrawn: list[J] = []
        self._at_work: tuple[J, ...] = ()

    @property
    def jobs(self) -> tuple[J, ...]:
        """All of them, in order of arrival."""
        return tuple(self._jobs)

    @property
    def waiting(self) -> int:
        """Number of jobs that are not at work."""
        return sum(self.waiting_by_priority.values())

    @property
    def waiting_by_priority(self) -> dict[Priority, int]:
        """The same, of each priority."""
        waiting = Counter(job.priority for job in self._jobs if job not in self._at_work)
        return {priority: waiting[priority] for priority in Priority}

    @property
    def overtaken(self) -> bool:
        """Whether a job at work should not be: it left, or a more urgent one came."""
        chosen = self._chosen()
        return any(job not in chosen for job in self._at_work)

    @property
    def forsaken(self) -> bool:
        """Whether none of the jobs at work should be: what is done for them is for nobody, or less urgent than others."""
        chosen = self._chosen()
        return bool(self._at_work) and not any(job in chosen for job in self._at_work)

    @property
    def at_rest(self) -> bool:
        """Whether there is nothing to do, not even to clear up after one that was withdrawn."""
        return not self._jobs and not self._withdrawn

    def holds(self, priority: Priority) -> bool:
        """Whether there is a job that is as urgent, or more."""
        return any(job.priority <= priority for job in self._jobs)

    def add(self, job: J) -> None:
        """Take in a job.

        :raises QueueFull: too many wait.
        """
        if sum(other.priority <= job.priority and other not in self._at_work for other in self._jobs) >= self._max_waiting:
            raise QueueFull(f"{self._max_waiting} requests wait for the model already; try again later")
        self._jobs.append(job)

    def remove(self, job: J) -> None:
        """Take out a job that is over."""
        self._jobs.remove(job)

    def withdraw(self, job: J) -> None:
        """Take out a job that is not, and has to be cleared up after."""
        self._jobs.remove(job)
        self._withdrawn.append(job)

    def withdrawn(self) -> list[J]:
        """Return what was withdrawn since the last call."""
        withdrawn, self._withdrawn = self._withdrawn, []
        return withdrawn

    def next(self) -> tuple[J, ...]:
        """Return the jobs whose turn it is; they are at work until the next call."""
        self._at_work = self._chosen()
        return self._at_work

    def _chosen(self) -> tuple[J, ...]:
        interactive = [job for job in self._jobs if job.priority == Priority.INTERACTIVE]
        if interactive:
            return tuple(interactive[: self._width])
        return (min(self._jobs, key=lambda job: job.priority),) if self._jobs else ()  # of equals, the first to come
