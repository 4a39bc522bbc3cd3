"""How the demo counts."""

import pytest

from espeer.demo.incidents import NOBODY, load, shared_out
from espeer.demo.results import Results, Tally, interval


def test_each_learner_gets_a_block_of_its_own_and_nobody_the_last() -> None:
    incidents = load()
    groups = shared_out(incidents, ("A", "B"), 27)
    assert list(groups) == ["A", "B", NOBODY]
    assert [one.id for group in groups.values() for one in group] == [one.id for one in incidents]
    assert all(len(group) == 5 for group in shared_out(incidents, ("A", "B"), 5).values())


def test_results_are_counted_by_learner() -> None:
    groups = shared_out(load(), ("A", "B"), 2)
    quiz = [(name, incident) for name, group in groups.items() for incident in group]
    wrong = [{"index": (incident.answer + 1) % 4, "experiences": []} for _, incident in quiz]
    right = [{"index": incident.answer, "experiences": [{"author": "p"}]} for _, incident in quiz]
    results = Results(quiz, wrong, [*right[:3], *wrong[3:]], [30.0, 10.0, 20.0], {"A": {"distilled": 2}}, {"p": "A", "q": "B"})
    assert results.tallies() == [Tally("A", 2, 0, 2), Tally("B", 2, 0, 1), Tally(NOBODY, 2, 0, 0)]
    summary = results.summary()
    assert (summary["accuracy_before"], summary["accuracy_after"]) == (0.0, 0.75)
    assert (summary["ttft_p50_ms"], summary["nodes"]) == (20.0, 2)
    turned = results.turned()
    assert turned is not None
    assert turned.incident is quiz[0][1]


@pytest.mark.parametrize(
    ("right", "questions", "low", "high"), [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (50, 100, 0.4038, 0.5962)]
)
def test_wilsons_interval(right: int, questions: int, low: float, high: float) -> None:
    assert interval(right, questions) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))
