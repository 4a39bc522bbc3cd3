"""A saturated replica ends within its budget, and every question still finds what it found before."""

import time
from pathlib import Path

from benchmarks.saturation import faults, saturate
from espeer.llm.fake import FakeModel


def test_the_faults_are_different_and_always_the_same() -> None:
    made = faults(200, 20)
    assert made == faults(200, 20)
    assert all(len(fault.reports) == 20 for fault in made)
    assert len({report for fault in made for report in fault.reports}) > 3900
    assert len({fault.question for fault in made}) == 200


async def test_200_experiences_in_20_wordings_each_end_within_the_budget_and_are_found_as_before(tmp_path: Path) -> None:
    result = await saturate(
        faults(200, 20), FakeModel(), budget=400, threshold=0.6, folder=tmp_path, clock=lambda: time.time_ns() // 1_000_000
    )
    assert result.active_before == 4000
    assert result.active_after <= 400
    assert result.recall_after >= result.recall_before > 0.95
    assert result.outcome.evicted == 0  # it is refinement that keeps the budget here, not forgetting
