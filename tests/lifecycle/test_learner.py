"""The learner, in virtual time, on a real store."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from nacl.signing import SigningKey

from espeer import records
from espeer.errors import QueueFull, StoreFull
from espeer.interaction import Interaction
from espeer.lifecycle.learner import Learner
from espeer.llm.engine import Engine
from espeer.llm.fake import FakeModel
from espeer.llm.model import Model, Prompt, Sampling
from espeer.records import Experience, SignedRecord
from espeer.replica import Replica
from espeer.store import Store

KEY = SigningKey(bytes(range(32)))


class Bench:
    """A learner with everything around it."""

    def __init__(self, path: Path, model: Model, *, size: int = 9, age: float = 30) -> None:
        self.store = Store.open(path)
        self.replica = Replica(self.store, types=("pumps", "valves"), clock=lambda: 1)
        self.engine = Engine(model, in_thread=False)
        self._send, self.published = trio.open_memory_channel[SignedRecord](100)
        self.learner = Learner(
            self.store,
            self.replica,
            self.engine,
            author=bytes(KEY.verify_key),
            sign=lambda value: records.sign(value, lambda digest: KEY.sign(digest).signature),
            publish=self._publish,
            clock=lambda: 1,
            episode_size=size,
            episode_age=age,
        )

    def _publish(self, new: Sequence[SignedRecord]) -> None:
        for signed in new:
            self._send.send_nowait(signed)

    async def told(self, query: str, **fields: str) -> Interaction:
        interaction = self.store.add_interaction(Interaction(0, 1, query, **fields), ready=True)
        await self.learner.take(interaction)
        return interaction

    async def next_published(self) -> Experience:
        record = (await self.published.receive()).record
        assert isinstance(record, Experience)
        return record


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[Bench]:
    async with trio.open_nursery() as nursery:
        await nursery.start(bench.engine.run)
        await nursery.start(bench.learner.run)
        yield bench
        nursery.cancel_scope.cancel()


async def test_an_episode_is_distilled_when_its_age_is_up(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with running(Bench(tmp_path / "s.db", FakeModel())) as bench:
        told = await bench.told("E42 on the pumps.", feedback="Purge the line.")
        experience = await bench.next_published()
        assert trio.current_time() >= 30
        assert experience.text == "E42 on the pumps. Purge the line."
        assert (experience.type, experience.method, experience.model) == ("pumps", "extractive", "fake")
        assert [hit.experience for hit in bench.replica.recall("E42", 1)] == [experience]
        identifier = bench.store.experience_of(told.id)
        assert identifier is not None
        assert bench.replica.show(identifier.hex()).via == "own"
        assert bench.learner.waiting == 0


async def test_an_episode_is_distilled_when_it_is_full(tmp_path: Path) -> None:
    async with running(Bench(tmp_path / "s.db", FakeModel(), size=2, age=1e9)) as bench:
        await bench.told("E42 on the pumps.", feedback="Purge the line.")
        await bench.told("E42 on the pumps.", feedback="Check the seal.")
        assert (await bench.next_published()).text == "E42 on the pumps. Purge the line. Check the seal."


async def test_flush_waits_for_everything_taken(tmp_path: Path) -> None:
    async with running(Bench(tmp_path / "s.db", FakeModel(), age=1e9)) as bench:
        for number in range(5):
            await bench.told(f"Fault F{number}.", feedback="Purge.")
        assert bench.learner.waiting == 5
        await bench.learner.flush()
        assert bench.learner.waiting == 0
        assert len(bench.replica) == 5


async def test_a_stop_loses_nothing_and_the_next_start_goes_on(tmp_path: Path) -> None:
    async with running(Bench(tmp_path / "s.db", FakeModel(), age=1e9)) as bench:
        await bench.told("E42 on the pumps.", feedback="Purge the line.")
    assert bench.store.pending_episodes() == [1]  # closed by the stop
    async with running(Bench(tmp_path / "s.db", FakeModel(), age=1e9)) as bench:
        assert (await bench.next_published()).text == "E42 on the pumps. Purge the line."


async def test_what_a_killed_node_left_open_is_taken_up(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    Store.open(tmp_path / "s.db").add_interaction(Interaction(0, 1, "E42.", feedback="Purge."), ready=True)
    async with running(Bench(tmp_path / "s.db", FakeModel())) as bench:
        assert (await bench.next_published()).text == "E42. Purge."


async def test_what_recall_injected_is_not_learnt_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "s.db", FakeModel(), age=1e9)
    async with running(bench):
        fields = {"response": "Recalled words.", "feedback": "Wrong: purge the line.", "source": "answer"}
        augmented = bench.store.add_interaction(Interaction(0, 1, "E42?", **fields), ready=True, used=[b"u" * 32])
        await bench.learner.take(augmented)
        await bench.learner.flush()
        assert "Recalled" not in (await bench.next_published()).text


async def test_a_named_type_is_kept_and_others_are_classified(tmp_path: Path) -> None:
    async with running(Bench(tmp_path / "s.db", FakeModel(), age=1e9)) as bench:
        await bench.told("Fault F1 of the pumps.", type="valves")
        await bench.told("Fault F2 of the pumps.")
        await bench.learner.flush()
        assert {(await bench.next_published()).type for _ in range(2)} == {"pumps", "valves"}


@pytest.mark.parametrize("error", [StoreFull("full"), QueueFull("busy")])
async def test_a_fault_that_may_pass_is_waited_out(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    bench = Bench(tmp_path / "s.db", FakeModel())
    real_add, failures = bench.replica.add, [error, error]

    def add(new: Sequence[SignedRecord], *, via: str, episode: int | None = None) -> list[SignedRecord]:
        if failures:
            raise failures.pop()
        return real_add(new, via=via, episode=episode)

    monkeypatch.setattr(bench.replica, "add", add)
    async with running(bench):
        await bench.told("E42 on the pumps.", feedback="Purge the line.")
        assert (await bench.next_published()).text == "E42 on the pumps. Purge the line."


async def test_an_episode_too_long_for_the_model_is_extracted(tmp_path: Path) -> None:
    async with running(Bench(tmp_path / "s.db", FakeModel(context=64), age=1e9)) as bench:
        await bench.told("E42 " + "on the pump " * 100, type="pumps", feedback="Purge the line.")
        await bench.learner.flush()
        assert (await bench.next_published()).method == "extractive"


async def test_a_model_that_distils_well_is_believed(tmp_path: Path) -> None:
    def reply(_: Prompt, sampling: Sampling) -> str:
        return "valves" if sampling.grammar else "For E42 on the pump, purge the line."

    async with running(Bench(tmp_path / "s.db", FakeModel(reply), age=1e9)) as bench:
        await bench.told("E42 on the pump.", feedback="Purging the line cured it.")
        await bench.learner.flush()
        experience = await bench.next_published()
        assert (experience.text, experience.method, experience.type) == (
            "For E42 on the pump, purge the line.",
            "distilled",
            "valves",
        )


@pytest.mark.parametrize("way", ["by age", "by size", "by a stop"])
async def test_a_store_without_room_for_closing_an_episode_loses_none(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    bench = Bench(tmp_path / "s.db", FakeModel(), size=1 if way == "by size" else 9)
    real_close, failures = bench.store.close_episode, [StoreFull("full")] * 3

    def close(ids: Sequence[int], *, now_ms: int) -> int:
        if failures:
            raise failures.pop()
        return real_close(ids, now_ms=now_ms)

    monkeypatch.setattr(bench.store, "close_episode", close)
    async with running(bench):
        await bench.told("E42 on the pumps.", feedback="Purge the line.")
        if way != "by a stop":
            assert (await bench.next_published()).text == "E42 on the pumps. Purge the line."
    if way == "by a stop":
        assert len(bench.store.open_interactions()) == 1


async def test_an_episode_of_a_type_no_longer_held_waits_for_it(tmp_path: Path) -> None:
    async with running(Bench(tmp_path / "s.db", FakeModel(), age=1e9)) as bench:
        await bench.told("E42 on the doors.", type="doors")
        await bench.learner.flush()
        assert len(bench.replica) == 0
    assert bench.store.pending_episodes() == [1]


async def test_a_fault_of_ours_costs_one_episode_until_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(tmp_path / "s.db", FakeModel(), age=1e9)
    real_episode = bench.store.episode

    def broken(number: int) -> list[Interaction]:
        if number == 1:
            raise ZeroDivisionError
        return real_episode(number)

    monkeypatch.setattr(bench.store, "episode", broken)
    async with running(bench):
        await bench.told("E42 on the pumps.", feedback="Purge the line.")
        await bench.told("K7 on the valves.", feedback="Open it.")
        await bench.learner.flush()
        assert (await bench.next_published()).text == "K7 on the valves. Open it."
    assert bench.store.pending_episodes() == [1]
    assert "left for the next start" in caplog.text
