"""The ablation of the prompts, with a model that says what it is told to: what is counted, and that each manner is asked in."""

import io
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from espeer.errors import ConfigError
from espeer.interaction import Interaction
from espeer.lifecycle import condense, distil
from espeer.lifecycle.prompts import CONDENSE, DISTIL
from espeer.llm.fake import FakeModel, quote
from espeer.llm.model import Prompt, Sampling
from espeer.llm.shared import shared_model
from espeer.sim.experiments import ablation, ablation_report, performing, pupil, settings
from espeer.sim.experiments.journal import Journal
from espeer.sim.experiments.manners import CONDENSING, DISTILLING
from espeer.sim.experiments.metered import Metered
from espeer.sim.experiments.questions import Item
from espeer.sim.experiments.remembering import remembering

SCENARIO = """
experiment = "ablation"
name = "small"
about = "The incidents, by the fake model."
model = "fake"
seeds = [1, 2]
subjects = ["incidents"]
learn = 8
ask = 4
again = 4
distilling = ["current", "facts", "wrong-told", "quoted"]
condensing = ["current", "short", "quoted"]
groups = 4
"""
EPISODE = Interaction(
    1,
    0,
    "The Kestrel-3 stops with J18 when cold.",
    "Oiling all of its bearings twice did not help.",
    "A gap of 4 mm cured it.",
    "user",
    "t",
)
LESSON = "When the Kestrel-3 stops with J18 when cold, set a gap of 4 mm, which cured it."


def reply(prompt: Prompt, sampling: Sampling) -> str:
    """Word a lesson well after the facts' examples alone; else quote."""
    given = prompt.messages[-1].content
    if prompt.messages[0].content == DISTILLING["facts"].manner.task:  # type: ignore[union-attr]
        lines = [line.partition(": ")[2] for line in given.splitlines()]
        return f"{lines[-1]}, {lines[0]}".replace(". ", ", ")
    return quote(prompt, sampling)


def perform(folder: Path, monkeypatch: pytest.MonkeyPatch, scenario: str = SCENARIO) -> dict[str, Any]:
    monkeypatch.setattr(ablation, "remembering", lambda _, work: remembering(FakeModel(reply), work))
    performing.perform(settings.parse(scenario), folder=folder, data=None, command="x", console=Console(file=io.StringIO()))
    return json.loads((folder / "result.json").read_text())  # type: ignore[no-any-return]


def test_it_tells_the_manners_apart_and_does_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = perform(tmp_path, monkeypatch)
    values = {figure["name"]: figure["estimate"]["value"] for figure in found["figures"]}
    assert values["distil.facts.first try kept"] > values["distil.current.first try kept"]
    assert values["distil.quoted.first try kept"] == 0
    assert values["plain.again"] < values["quoted.again"]
    assert {name.partition(".")[2] for name in values if name.startswith("wrong-told")} == {"new", "again", "found first"}
    tables = {table["title"]: table["rows"] for table in found["tables"]}
    (kept,) = (rows for title, rows in tables.items() if title.startswith("Condensation: what is kept"))
    assert [row[0] for row in kept] == ["current", "short", "quoted"]
    assert all(1 <= int(row[1]) <= 4 for row in kept)

    done: list[str] = []
    put = Journal.put
    monkeypatch.setattr(Journal, "put", lambda self, key, result: (put(self, key, result), done.append(key)))
    assert perform(tmp_path, monkeypatch)["figures"] == found["figures"]
    assert done == []
    perform(tmp_path, monkeypatch, SCENARIO.replace('"short", ', '"short", "zero-shot", '))
    assert done
    assert {key.partition(" ")[0] for key in done} <= {"note", "complete"}


@pytest.mark.parametrize(("was", "now"), [('["current", "short"', '["short"'), ('"facts"', '"fax"')])
def test_what_is_compared_must_be_known_and_have_the_current(
    was: str, now: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="give 'current' and any of"):
        perform(tmp_path, monkeypatch, SCENARIO.replace(was, now))


async def test_a_manner_is_asked_in_and_judged_by_its_own_words() -> None:
    asked: list[tuple[Prompt, Sampling]] = []

    def note(prompt: Prompt, sampling: Sampling, said: str) -> str:
        asked.append((prompt, sampling))
        return said

    facts = DISTILLING["facts"].manner
    assert facts is not None
    echo = "When the Kestrel-3 stops with J18 when cold, a gap of 4 mm cured it by the gravity of the planets."
    async with shared_model(FakeModel(partial(note, said=echo))) as engine:
        metered = Metered(engine)
        assert (await distil.distil(metered, [EPISODE], facts)).method == "extractive"
        assert (await distil.distil(metered, [EPISODE])).text == echo  # those are no words of its prompt
        assert (await distil.distil(metered, [EPISODE], replace(DISTIL, held=True))).text == echo
    (first, sampling), *_, (_, free), (_, held) = asked
    assert first.messages[0].content == facts.task
    assert [turn.content for turn in first.messages[1:-1]] == [part for pair in facts.examples for part in pair]
    assert sampling.grammar is free.grammar is None
    assert held.grammar is not None
    assert "Kestrel-3" in held.grammar
    assert metered.said == [echo] * len(asked)
    assert metered.read == sum(FakeModel().size(prompt) for prompt, _ in asked)


async def test_condensing_is_asked_for_in_a_manner() -> None:
    asked: list[Prompt] = []

    def note(prompt: Prompt, sampling: Sampling) -> str:
        asked.append(prompt)
        return LESSON

    texts = [LESSON, "Kestrel-3 stops with J18 when cold: a gap of 4 mm cured it."]
    async with shared_model(FakeModel(note)) as engine:
        for manner in filter(None, CONDENSING.values()):
            assert (await condense.condense(engine, texts, manner=manner)).method == "condensed"
            assert asked[-1].messages[0].content == manner.task
    assert asked[0].messages[0].content == CONDENSE.task


def test_what_is_told_is_the_sentence_that_is_most_to_the_point() -> None:
    item = Item(
        "1", "s", "What keeps planets in orbit?", ("magnets", "gravity"), 1, "Stars shine. Gravity keeps them in orbit. Ah."
    )
    assert pupil.to_the_point(item) == "Gravity keeps them in orbit."
    assert pupil.to_the_point(replace(item, support="")) == ""


def test_facts_that_most_sources_hold_are_to_be_kept() -> None:
    sources = ["K11 after 5 seconds", "K11 in 5 minutes", "K11 or K12"]
    assert ablation_report.kept("K11 it is", sources) == 0.5
    assert ablation_report.kept("K11, 5", sources) == 1
    assert ablation_report.kept("nothing", ["nothing", "to see"]) is None
