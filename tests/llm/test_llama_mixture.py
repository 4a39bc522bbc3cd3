"""Any mixture of what an engine does with a model of llama.cpp: each run's result is the one that it has alone."""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import llama_cpp
import pytest
from bringing import bring
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from test_llama import assert_consistent, close
from tiny_gguf import write_recurrent, write_tiny

from espeer.errors import ModelError, PromptTooLong
from espeer.llm.context import Cell
from espeer.llm.llama import LlamaModel
from espeer.llm.model import Finish, Message, Note, Prompt, Run, Sampling, Score

CONTEXT = 700
FAILURE = ModelError("llama.cpp cannot")
NOTES = tuple(
    Note(f"id {letter}", letter * length) for letter, length in zip("abcdefgh", (9, 40, 103, 104, 60, 70, 120, 5), strict=True)
)


@dataclass(frozen=True)
class Job:
    """What a run was begun with."""

    prompt: Prompt
    sampling: Sampling | None = None
    choices: tuple[str, ...] = ()
    ranks: int = 0

    def begin(self, model: LlamaModel) -> Run:
        if self.sampling is not None:
            return model.generate(self.prompt, self.sampling)
        return model.warm(self.prompt, self.ranks) if self.ranks else model.score(self.prompt, self.choices)


PROMPTS = st.builds(
    lambda task, notes, question: Prompt(
        (Message("system", task), Message("user", question, lead="Notes:", notes=tuple(notes)))
    ),
    st.sampled_from(["Be brief.", "T" * 150]),
    st.lists(st.sampled_from(NOTES), max_size=4, unique=True),
    st.sampled_from(["Which?", "Whichever?", "q" * 140]),
)
JOBS = st.one_of(
    st.builds(Job, PROMPTS, st.builds(Sampling, st.integers(0, 60), grammar=st.sampled_from([None, "root ::= [a-z]+"]))),
    st.builds(Job, PROMPTS, choices=st.sampled_from([("x",), ("yes", "no", "", "perhaps so"), ("z" * 50,) * 9])),
    st.builds(Job, PROMPTS, ranks=st.integers(1, 9)),
)


@dataclass
class Alone:
    """Results of runs that have a model to themselves."""

    path: Path
    results: dict[Job, tuple[str, Finish | None, list[Score]]] = field(default_factory=dict)

    def result(self, job: Job) -> tuple[str, Finish | None, list[Score]]:
        if job not in self.results:
            model = LlamaModel.load(self.path, threads=1)
            run = job.begin(model)
            self.results[job] = bring(model, run), run.finish, run.scores
            model.close()
        return self.results[job]


class Mixture(RuleBasedStateMachine):
    def __init__(self, alone: Alone) -> None:
        super().__init__()
        self.alone = alone
        self.model = LlamaModel.load(alone.path, threads=1, keep=200_000)
        self.runs: list[tuple[Run, Job]] = []
        self.said: dict[int, str] = {}
        self.abort_in = -1
        self.failing = False
        self.evaluated = 0
        context = self.model._context
        self.check = llama_cpp.ggml_abort_callback(self._check)
        context._read_flag = self.check
        llama_cpp.llama_set_abort_callback(context.handle, self.check, ctypes.c_void_p(0))
        evaluate = context.evaluate

        def counted(cells: Sequence[Cell], **how: bool) -> None:
            self.evaluated += 1
            if self.failing:
                raise FAILURE
            evaluate(cells, **how)

        context.evaluate = counted  # type: ignore[method-assign]

    def _check(self, _: Any) -> bool:
        self.abort_in -= 1
        return self.abort_in == -1

    @precondition(lambda self: len(self.runs) < 12)
    @rule(job=JOBS)
    def begin(self, job: Job) -> None:
        try:
            run = job.begin(self.model)
        except PromptTooLong:
            return
        self.runs.append((run, job))
        self.said[id(run)] = ""

    def _step(self, chosen: list[tuple[Run, Job]]) -> None:
        before = self.evaluated
        self.model.step([run for run, _ in chosen])
        assert self.evaluated > before or any(run.done for run, _ in chosen)
        for run, job in chosen:
            self.said[id(run)] += run.take()
            if run.done:
                self.runs.remove((run, job))
                if run.error is not None:
                    assert run.error is FAILURE  # in this step, or in one that moved its notes while it was paused
                    continue
                text, finish, scores = self.alone.result(job)
                assert self.said[id(run)] == text
                assert run.finish == finish
                assert close(run.scores, scores, 1e-3)

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), times=st.integers(1, 6))
    def step(self, data: st.DataObject, times: int) -> None:
        chosen = data.draw(st.lists(st.sampled_from(self.runs), min_size=1, max_size=8, unique_by=id))
        for _ in range(times):
            chosen = [pair for pair in chosen if pair in self.runs]
            if chosen:
                self._step(chosen)

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), after=st.integers(0, 3) | st.integers(0, 60))
    def interrupted_step(self, data: st.DataObject, after: int) -> None:
        self.abort_in = after
        self.step(data, 1)
        self.abort_in = -1

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def failing_step(self, data: st.DataObject) -> None:
        self.failing = True
        self.step(data, 1)
        self.failing = False

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        pair = data.draw(st.sampled_from(self.runs))
        pair[0].close()
        self.runs.remove(pair)

    def teardown(self) -> None:
        try:
            steps = 0
            while self.runs:
                self._step(self.runs[:8])
                steps += 1
                assert steps < 3000
            assert_consistent(self.model)
        finally:
            self.model.close()


@pytest.mark.parametrize("write", [partial(write_tiny, llama__context_length=CONTEXT), write_recurrent])
def test_any_mixture(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    alone = Alone(write(tmp_path / "tiny.gguf"))
    usual = settings(max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    run_state_machine_as_test(lambda: Mixture(alone), settings=usual)
