from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from espeer.errors import QueueFull
from espeer.llm.schedule import Priority, Schedule

WIDTH, MAX_WAITING = 2, 4


@dataclass(frozen=True, eq=False)
class Job:
    priority: Priority
    number: int


class Turns(RuleBasedStateMachine):
    """Jobs come, go and are worked on in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.schedule = Schedule[Job](width=WIDTH, max_waiting=MAX_WAITING)
        self.jobs: list[Job] = []
        self.at_work: tuple[Job, ...] = ()
        self.to_clear: list[Job] = []
        self.count = 0

    @rule(priority=st.sampled_from(Priority))
    def add(self, priority: Priority) -> None:
        self.count += 1
        job = Job(priority, self.count)
        ahead = [other for other in self.jobs if other.priority <= priority and other not in self.at_work]
        if len(ahead) >= MAX_WAITING:
            with pytest.raises(QueueFull, match="4 requests wait"):
                self.schedule.add(job)
        else:
            self.schedule.add(job)
            self.jobs.append(job)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.jobs))
        self.schedule.withdraw(job)
        self.jobs.remove(job)
        self.to_clear.append(job)

    @precondition(lambda self: set(self.at_work) & set(self.jobs))
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from([job for job in self.at_work if job in self.jobs]))
        self.schedule.remove(job)
        self.jobs.remove(job)

    @rule()
    def clear_up(self) -> None:
        assert self.schedule.withdrawn() == self.to_clear
        self.to_clear = []

    @rule()
    def next(self) -> None:
        self.at_work = self.schedule.next()
        assert not self.schedule.overtaken
        assert bool(self.at_work) == bool(self.jobs)
        order = sorted(self.jobs, key=lambda job: (job.priority, job.number))
        assert list(self.at_work) == order[: len(self.at_work)]
        interactive = sum(job.priority == Priority.INTERACTIVE for job in self.jobs)
        assert len(self.at_work) == (min(interactive, WIDTH) or min(len(self.jobs), 1))

    @invariant()
    def everything_is_known(self) -> None:
        assert self.schedule.jobs == tuple(self.jobs)
        assert self.schedule.waiting == len(set(self.jobs) - set(self.at_work))
        assert self.schedule.at_rest == (not self.jobs and not self.to_clear)
        for priority in Priority:
            assert self.schedule.holds(priority) == any(job.priority <= priority for job in self.jobs)

    @invariant()
    def only_what_leaves_or_is_less_urgent_is_overtaken(self) -> None:
        left = not set(self.at_work) <= set(self.jobs)
        urgent = min((job.priority for job in self.jobs), default=Priority.WARM)
        less = [job for job in self.at_work if job.priority > urgent]
        assert self.schedule.overtaken == (left or bool(less))
        stay = set(self.at_work) & set(self.jobs) - set(less)
        assert self.schedule.forsaken == (bool(self.at_work) and not stay)


TestTurns = Turns.TestCase
TestTurns.settings = settings(max_examples=50)
