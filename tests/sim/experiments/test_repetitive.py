"""Repetitive experience: who asks what, what is kept of the model's work, and real nodes with a model that needs no weights."""

import io
from pathlib import Path

import pytest
import trio
from rich.console import Console
from rich.progress import Progress
from stopping import stop_once
from trio.testing import MockClock

from espeer.errors import NetworkError
from espeer.llm.fake import FakeModel
from espeer.llm.model import Message, Note, Prompt, Sampling
from espeer.sim.experiments import performing, repetitive_report, settings
from espeer.sim.experiments.deployments import Fleet, Heard
from espeer.sim.experiments.journal import Journal
from espeer.sim.experiments.questions import Item
from espeer.sim.experiments.remembering import Remembering
from espeer.sim.experiments.repetitive_report import WAYS, Asked, Way
from espeer.sim.experiments.report import Figure
from espeer.sim.experiments.settings import Repetitive
from espeer.sim.experiments.trace import Before, trace
from espeer.sim.experiments.work import Work

SCENARIO = """
experiment = "repetitive"
name = "again"
about = "The incidents, by the fake model."
model = "fake"
seeds = [1]
subjects = ["incidents"]
most = 8
clients = 2
epochs = 3
share = 0.5
"""


# -- who asks what


def test_every_client_asks_its_share_and_what_was_asked_before_is_known() -> None:
    items = [Item(str(number), "s", "q", ("a", "b"), 0) for number in range(10)]
    epochs = trace(items, 7, clients=3, epochs=4, share=0.4)
    asked: dict[str, set[int]] = {}
    for asks in epochs:
        for client in range(3):
            assert len({ask.item.id for ask in asks if ask.client == client}) == 4
        for ask in asks:
            known = asked.get(ask.item.id, set())
            assert ask.before == ("self" if ask.client in known else "others" if known else "nobody")
        for ask in asks:
            asked.setdefault(ask.item.id, set()).add(ask.client)
    assert {ask.before for asks in epochs for ask in asks} == {"nobody", "others", "self"}
    assert any(len({ask.client for ask in epochs[0] if ask.item.id == one}) > 1 for one in asked), "nothing overlaps"
    assert epochs == trace(items, 7, clients=3, epochs=4, share=0.4)
    assert epochs != trace(items, 8, clients=3, epochs=4, share=0.4)


# -- the model's work


async def test_the_model_is_asked_once_whatever_a_note_is_called(tmp_path: Path) -> None:
    said: list[str] = []

    def reply(prompt: Prompt, sampling: Sampling) -> str:
        said.append(prompt.messages[-1].text)
        return f"reply {len(said)} of {sampling.max_tokens}"

    def prompt(id: str, text: str) -> Prompt:
        return Prompt((Message("user", "what now?", lead="Notes:\n", notes=(Note(id, text),)),))

    async def talk() -> list[str]:
        with Journal(tmp_path / "work.db", {}) as journal:
            engine = Remembering(FakeModel(reply), Work(journal, None, Progress(disable=True)))
            async with trio.open_nursery() as nursery:
                await nursery.start(engine.run)
                answers = [await engine.complete(prompt(*one)) for one in (("1", "a\n"), ("2", "a\n"), ("2", "b\n"))]
                answers.append(await engine.complete(prompt("1", "a\n"), Sampling(max_tokens=9)))
                scores = await engine.score(prompt("1", "a\n"), ("what", "else"))
                assert scores == await engine.score(prompt("2", "a\n"), ("what", "else"))
                assert scores[0].logprob > scores[1].logprob
                assert scores != await engine.score(prompt("1", "a\n"), ("else", "what"))
                nursery.cancel_scope.cancel()
        return answers

    first = await talk()
    assert first == ["reply 1 of 256", "reply 1 of 256", "reply 2 of 256", "reply 3 of 9"]
    assert await talk() == first
    assert len(said) == 3


# -- real nodes


def test_what_one_learns_helps_the_others_and_a_stopped_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = settings.parse(SCENARIO)

    def perform() -> list[Figure]:
        console = Console(file=io.StringIO())
        return list(performing.perform(chosen, folder=tmp_path, data=None, command="x", console=console).figures)

    done = stop_once(monkeypatch, after=30)
    with pytest.raises(KeyboardInterrupt):
        perform()
    figures = {figure.name: figure for figure in perform()}
    assert len(done) > 30
    assert len(done) == len(set(done))
    for way in WAYS:
        assert sum(map(len, figures[f"incidents.{way}.accuracy"].outcomes.values())) == 2 * 3 * 4
        start = [figures[f"incidents.{way}.epoch-1.accuracy"].outcomes for way in ("plain", way)]
        assert start[0] == start[1]
    others = {way: figures[f"incidents.{way}.before-others.accuracy"].estimate.value for way in WAYS}
    assert others["peers"] == others["server"] == 1 > others["alone"]
    assert figures["incidents.alone.before-self.accuracy"].estimate.value == 1
    last = {way: figures[f"incidents.{way}.epoch-3.accuracy"].estimate.value for way in WAYS}
    assert last["peers"] > last["alone"] > last["plain"]
    assert {path.name for path in tmp_path.glob("*.svg")} == {"again-incidents-accuracy.svg", "again-incidents-confidence.svg"}


async def test_nodes_that_never_hold_the_same_are_given_up(autojump_clock: MockClock) -> None:
    with pytest.raises(NetworkError, match="do not hold the same after 120 s"):
        await Fleet([], [], [Heard()]).converged({"00"})
    assert autojump_clock.current_time() >= 120


# -- what it came to


Row = tuple[int, str, Before, bool]


def asks(way: Way, *rows: Row) -> list[Asked]:
    return [
        Asked(
            *("s", way, 1, epoch, 0, item, before, right),
            share=0.75 if right else 0.5,
            reported=0.9 if right else 0.2,
            recalled=f"{way}-{item}" if way == "peers" else item,
        )
        for epoch, item, before, right in rows
    ]


def test_tables_tell_what_came_back_from_what_is_new() -> None:
    chosen = settings.parse(SCENARIO.replace('"incidents"', '"s"').replace("epochs = 3", "epochs = 2"))
    assert isinstance(chosen, Repetitive)
    before: tuple[Row, ...] = ((1, "a", "nobody", False), (1, "b", "nobody", True))
    plain: tuple[Row, ...] = (*before, (2, "a", "others", False), (2, "b", "others", True), (2, "c", "nobody", False))
    shared: tuple[Row, ...] = (*before, (2, "a", "others", True), (2, "b", "others", True), (2, "c", "nobody", False))
    asked = asks("plain", *plain) + asks("alone", *plain) + asks("server", *shared) + asks("peers", *shared)
    made = repetitive_report.report(chosen, asked, model="m", method="text")
    _, knowledge, pairs, confidence = made.tables
    assert [row[:3] for row in knowledge.rows] == [("s", "nobody", "3"), ("s", "others", "2")]
    assert [cell[:5] for cell in knowledge.rows[1][3:]] == ["0.500", "0.500", "1.000", "1.000"]
    assert [cell[:5] for cell in knowledge.rows[0][3:]] == ["0.333"] * 4
    assert [row[1:3] for row in pairs.rows] == [
        ("peers over plain", "2"),
        ("peers over alone", "2"),
        ("peers over server", "2"),
        ("peers over plain", "all"),
        ("peers over alone", "all"),
        ("peers over server", "all"),
    ]
    assert [row[5] for row in pairs.rows] == ["1 / 0", "1 / 0", "0 / 0"] * 2
    assert pairs.rows[0][4].startswith("+0.333")
    assert pairs.rows[3][4].startswith("+0.500")
    peers = {row[2]: row[3:] for row in confidence.rows if row[1] == "peers"}
    assert peers["all"] == (
        *("0.900 (2, all alike)", "0.200 (2, all alike)", "0.140"),
        *("0.750 (2, all alike)", "0.500 (2, all alike)", "0.350"),
    )
    assert made.notes[-1].endswith("in 0 of 5 asks")
