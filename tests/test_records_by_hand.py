"""Retracting, exporting, importing, and telling of answers: a node's own methods."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from espeer import Config, FakeModel, Node
from espeer import replica as replica_module
from espeer.errors import InputError, NotFound, StoreFull
from espeer.events import Event, Recorded
from espeer.transfer import ExportPage, fields, line


@asynccontextmanager
async def opened(data: Path, *types: str, model: FakeModel | None = None) -> AsyncIterator[Node]:
    config = Config(data=data, offline=True, types=types or ("pumps",), episode_age=1e6, warming=False)
    async with Node(config, model=model or FakeModel()) as node:
        yield node


async def learn(node: Node, text: str, type: str = "pumps") -> str:
    learnt = await node.learn(text, feedback="Purge the line.", type=type, wait=True)
    assert learnt.experience is not None
    return learnt.experience


def lines(page: ExportPage) -> list[str]:
    return [line(fields(signed)) for signed in page.records]


async def test_what_is_retracted_is_recalled_no_more_and_stays_so(tmp_path: Path) -> None:
    async with opened(tmp_path) as node:
        experience = await learn(node, "Pump P7 shows E42.")
        events: list[Event] = []
        with node.events.listening(events.append):
            retracted = await node.retract(experience[:8])
        assert retracted.experience == experience
        assert [event.id for event in events if isinstance(event, Recorded)] == [retracted.retraction]
        assert await node.recall("P7 E42") == []
        assert (await node.experience(experience)).state == "retracted"
        with pytest.raises(InputError, match="was retracted already"):
            await node.retract(experience)
        with pytest.raises(NotFound, match="is a retraction, not an experience"):
            await node.retract(retracted.retraction)
        with pytest.raises(NotFound, match="no experience has an id"):
            await node.retract("00")
    async with opened(tmp_path) as node:
        assert await node.recall("P7 E42") == []


async def test_only_ones_own_experiences_can_be_retracted(tmp_path: Path) -> None:
    async with opened(tmp_path / "a") as a, opened(tmp_path / "b") as b:
        experience = await learn(a, "Pump P7 shows E42.")
        await b.import_lines(lines(await a.export()))
        with pytest.raises(InputError, match=f"was learnt by {a.identity.peer_id}; only its author can retract it"):
            await b.retract(experience)
        assert len(await b.recall("P7 E42")) == 1


async def test_a_condensate_is_not_retracted_and_goes_back_with_what_it_was_made_of(tmp_path: Path) -> None:
    async with opened(tmp_path) as node:
        first = await learn(node, "Pump P7 shows E42 when it is cold outside")
        await learn(node, "Pump P7 shows E42 when it is cold inside")
        await node.refine(threshold=0.3)
        (condensate,) = await node.experiences()
        assert condensate.via == "refined"
        with pytest.raises(InputError, match="is a condensate that this node made"):
            await node.retract(condensate.id)
        await node.retract(first)
        states = [(await node.experience(id_)).state for id_ in (condensate.id, first)]
        assert states == ["undone", "retracted"]
        assert [held.via for held in await node.experiences()] == ["own"]


async def test_the_model_forgets_what_is_retracted(tmp_path: Path) -> None:
    told: list[set[str]] = []

    class Forgetting(FakeModel):
        def forget(self, notes: object) -> None:
            told.append(set(notes))  # type: ignore[call-overload]

    async with opened(tmp_path, model=Forgetting()) as node:
        experience = await learn(node, "Pump P7 shows E42.")
        await node.retract(experience)
        await node.ask("The model had its turn?")
        assert told == [{experience}]


async def test_an_import_gives_what_was_exported_once(tmp_path: Path) -> None:
    async with opened(tmp_path / "a", "pumps", "valves") as a, opened(tmp_path / "b") as b:
        kept = await learn(a, "Pump P7 shows E42.")
        gone = await learn(a, "Pump P8 hums at night.")
        await learn(a, "Valve V1 drips.", type="valves")
        await a.retract(gone)
        page = await a.export()
        assert page.next is None
        assert len(page.records) == 3  # two experiences, and the retraction
        assert len((await a.export(type="valves")).records) == 1
        done = await b.import_lines(lines(page))
        assert (done.new, done.known, done.refused, done.not_held) == (2, 0, 1, 1)
        assert done.refusals[0].reason.startswith("this node does not hold the type 'valves'")
        held = await b.experience(kept)
        assert (held.via, held.state) == ("import", "active")
        assert held.experience is not None
        assert held.experience.author == a.identity.public
        again = await b.import_lines(lines(page))
        assert (again.new, again.known) == (0, 2)
        with pytest.raises(NotFound, match="no records of the type 'doors'"):
            await a.export(type="doors")


async def test_a_retraction_that_is_imported_hides_what_is_here_and_what_is_to_come(tmp_path: Path) -> None:
    async with opened(tmp_path / "a") as a, opened(tmp_path / "b") as b, opened(tmp_path / "c") as c:
        gone = await learn(a, "Pump P8 hums at night.")
        before = lines(await a.export())
        await b.import_lines(before)
        await a.retract(gone)
        after = lines(await a.export())
        await b.import_lines(after)
        await c.import_lines(after)
        await c.import_lines(before)
        for node in (b, c):
            assert await node.recall("P8 hums") == []
            assert (await node.experience(gone)).state == "retracted"


async def test_an_export_comes_in_pages_and_can_be_of_ones_own_alone(tmp_path: Path) -> None:
    async with opened(tmp_path / "a") as a, opened(tmp_path / "b") as b:
        for number in range(5):
            await learn(a, f"Pump P{number} shows E{number}.")
        await learn(b, "Pump Q shows E42.")
        await b.import_lines(lines(await a.export()))
        found, after, pages = [], 0, 0
        while True:
            page = await b.export(after=after, limit=2)
            found += page.records
            pages += 1
            if page.next is None:
                break
            after = page.next
        assert (len(found), pages) == (6, 4)  # the last is empty: whether there is more is not known before
        assert len({signed.id for signed in found}) == 6
        assert [signed.record.author for signed in (await b.export(own=True)).records] == [b.identity.public]


async def test_condensates_are_exported_only_when_asked_for(tmp_path: Path) -> None:
    async with opened(tmp_path / "a") as a, opened(tmp_path / "b") as b:
        await learn(a, "Pump P7 shows E42 when it is cold outside")
        await learn(a, "Pump P7 shows E42 when it is cold inside")
        await a.refine(threshold=0.3)
        assert len((await a.export()).records) == 2
        page = await a.export(condensates=True)
        assert len(page.records) == 3
        await b.import_lines(lines(page))
        assert [held.via for held in await b.experiences()] == ["import"] * 3


async def test_the_bound_on_what_others_bring_holds_for_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path / "a") as a, opened(tmp_path / "b") as b:
        for number in range(3):
            await learn(a, f"Pump P{number} shows E{number}.")
        exported = lines(await a.export())
        monkeypatch.setattr(replica_module, "MAX_KNOWN", 2)
        assert (await b.import_lines(exported[:2])).new == 2
        with pytest.raises(StoreFull, match="takes no more"):
            await b.import_lines(exported)
        assert len(await b.experiences()) == 2


async def test_an_answer_tells_what_it_rested_on_and_what_came_of_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as node:
        used = await learn(node, "Pump P7 shows E42 when cold.")
        answer = await node.ask("The pump P7 shows E42?")
        given = await node.answer(answer.id)
        assert (given.asked.query, given.asked.response, given.good) == ("The pump P7 shows E42?", answer.text, None)
        assert [one.id for one in given.used] == [used]
        assert given.used[0].held is not None
        assert (given.used[0].held.state, given.used[0].by, given.learnt) == ("active", None, None)
        await node.feedback(answer.id, "It was the gasket of P7: E42 again.", good=False)
        await node.flush()
        await node.refine(threshold=0.05)
        given = await node.answer(answer.id)
        assert (given.asked.feedback, given.good) == ("It was the gasket of P7: E42 again.", False)
        assert given.learnt is not None
        assert given.learnt.held is not None
        (held,) = await node.experiences()
        assert given.used[0].held is not None
        assert given.used[0].held.state == "superseded"
        assert given.used[0].by is not None
        assert given.used[0].by.id == held.id
        for wrong in (0, 99, 2**70, 1):  # 1 is what was learnt, not an answer
            with pytest.raises(NotFound, match="there is no answer"):
                await node.answer(wrong)
