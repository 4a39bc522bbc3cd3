from pathlib import Path

import pytest
import trio
from stepped import SteppedModel, ask
from tiny_gguf import write_tiny
from trio.testing import MockClock

import espeer
from espeer import Config, FakeModel, Node
from espeer.errors import ModelError, ModelNotFound, ModelUnreadable
from espeer.llm.engine import Engine, Priority


def config(folder: Path, name: str) -> Config:
    return Config(data=folder / name, offline=True, episode_age=1e6)


async def test_two_nodes_use_one_model_and_leave_it_open(tmp_path: Path) -> None:
    model = FakeModel()
    question = "Pump P7 shows E42. What now?"
    async with espeer.shared_model(model) as engine:
        async with Node(config(tmp_path, "a"), engine=engine) as a, Node(config(tmp_path, "b"), engine=engine) as b:
            await a.learn("Pump P7 shows E42 when cold.", feedback="Purge the line for 40 s.", wait=True)
            assert "P7" in (await a.ask(question)).text
            assert (await b.ask(question)).experiences == ()
        async with Node(config(tmp_path, "b"), engine=engine) as b:
            assert (await b.ask(question)).experiences == ()
        await engine.complete(ask("x"))
    with pytest.raises(ModelError, match="stopping"):
        await engine.complete(ask("x"))
    with pytest.raises(ModelError, match="closed"):
        model.warm(ask("x"), 1)


async def test_questions_to_two_nodes_share_steps(tmp_path: Path) -> None:
    model = SteppedModel()
    async with (
        espeer.shared_model(model) as engine,
        Node(config(tmp_path, "a"), engine=engine) as a,
        Node(config(tmp_path, "b"), engine=engine) as b,
        trio.open_nursery() as requests,
    ):
        requests.start_soon(a.ask, "@0 from a")
        await model.wait_held()
        requests.start_soon(b.ask, "from b")
        with trio.fail_after(10):
            while sum(job.priority == Priority.INTERACTIVE for job in engine._schedule.jobs) < 2:  # the nodes warm, too
                await trio.lowlevel.checkpoint()
        model.let_go()
    assert any(" + " in names for names in model.log)


async def test_a_node_on_a_virtual_clock(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with (
        espeer.shared_model("fake", context=512, in_thread=False) as engine,
        Node(config(tmp_path, "a"), engine=engine) as node,
    ):
        assert engine.model.context == 512
        assert (await node.ask("Anything?")).text
        assert (await node.status()).model == "fake"


@pytest.mark.parametrize(("mb", "joins"), [(1, True), (0, False)])
async def test_how_much_a_shared_model_keeps_is_said_with_it(tmp_path: Path, mb: int, joins: bool) -> None:
    path = write_tiny(tmp_path / "tiny.gguf")
    async with espeer.shared_model(str(path), kv_cache_mb=mb) as engine:
        assert engine.model.statistics()["joins_notes"] is joins


async def test_a_node_takes_a_model_or_an_engine() -> None:
    model = FakeModel()
    with pytest.raises(TypeError, match="not both"):
        Node(model=model, engine=Engine(model))


async def test_what_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound):
        async with espeer.shared_model(str(tmp_path / "none.gguf")):
            pass
    (tmp_path / "bad.gguf").write_bytes(b"no model")
    with pytest.raises(ModelUnreadable):
        async with espeer.shared_model(str(tmp_path / "bad.gguf")):
            pass


async def test_what_the_block_raises_comes_out_as_it_is_and_the_model_is_closed() -> None:
    model = FakeModel()
    with pytest.raises(ZeroDivisionError):
        async with espeer.shared_model(model):
            raise ZeroDivisionError
    with pytest.raises(ModelError, match="closed"):
        model.warm(ask("x"), 1)
