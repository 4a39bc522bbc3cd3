"""The accuracy beside full prefill, with a model that is quick."""

from benchmarks.choosing import CACHED, FULL, accuracy
from benchmarks.questions import Material, Question
from espeer.llm.fake import FakeModel


def test_two_models_that_answer_alike_lose_nothing() -> None:
    asked = [Question("What is the lamp made of?", ("brass", "straw"), 0), Question("Who has the key?", ("Ann", "Bob"), 1)]
    material = Material("two", asked, ["The lamp is made of brass.", "The key of the lamp is with Ann."])
    figures = accuracy(material, FakeModel(), FakeModel(), 2, method="text")
    assert figures[CACHED].value == figures[FULL].value == 0.5  # the fake takes what stands in the prompt
    lost = figures["accuracy_lost_points"]
    assert (lost.value, lost.reached) == (0, True)
    assert "p 1" in lost.note
    assert figures["choice_divergence"].value == 0
