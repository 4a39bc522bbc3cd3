"""What is logged: as JSON or for people; never what was asked, answered or learnt, never a secret."""

import base64
import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import trio

from espeer import Config, FakeModel, Node, log
from espeer.api import control
from espeer.api.client import request
from espeer.api.http.served import Served
from espeer.api.http.server import serve
from espeer.api.http.settings import HttpSettings
from espeer.errors import EspeerError
from espeer.events import Recorded
from espeer.folder import identity_path, socket_path
from espeer.llm.model import Prompt, Sampling
from espeer.transfer import fields, line

MARK = "Zyzzyva"
"""A word that stands in every text of these tests."""
FOREIGN = ("hypercorn.error", "mcp.server.lowlevel", "uvicorn.error")
KEY = "a key of HTTP clients: 0123456789"

Configure = Callable[..., io.StringIO]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def configured() -> Iterator[Configure]:
    """Have it logged into a buffer, as `espeer node` does, and put everything back."""
    root, ours = logging.getLogger(), logging.getLogger("espeer")
    handlers, level = root.handlers[:], ours.level

    def configure(level: int = logging.INFO, *, form: log.LogFormat = "json", stream: io.StringIO | None = None) -> io.StringIO:
        stream = stream or io.StringIO()
        log.configure(level, stream, form=form)
        return stream

    yield configure
    root.handlers[:] = handlers
    ours.setLevel(level)
    logging.captureWarnings(capture=False)


def records(stream: io.StringIO) -> list[dict[str, str]]:
    return [json.loads(text) for text in stream.getvalue().splitlines()]


def fail() -> None:
    text = f"{MARK} is a local variable"
    try:
        Path("/").write_text(text)
    except OSError as error:
        raise ValueError(text) from error


def test_libraries_log_the_same_way_but_only_what_is_wrong(configured: Configure) -> None:
    stream = configured()
    for name in FOREIGN:
        logging.getLogger(name).info("chatter")
        logging.getLogger(name).warning("it failed: %s", 7)
    assert [(record["level"], record["event"], record["logger"]) for record in records(stream)] == [
        ("warning", "it failed: 7", name) for name in FOREIGN
    ]


@pytest.mark.parametrize("form", ["json", "human"])
def test_an_error_is_told_without_what_it_holds(configured: Configure, form: log.LogFormat) -> None:
    stream = configured(form=form, stream=Terminal())
    try:
        fail()
    except ValueError:
        log.get_logger("espeer.test").exception("it failed", number=7)
    said = stream.getvalue()
    assert MARK not in said
    assert "Is a directory" in said
    assert "builtins.ValueError: (what it says may hold texts" in said
    assert "in fail" in said


def test_debug_tells_all(configured: Configure) -> None:
    stream = configured(logging.DEBUG)
    try:
        fail()
    except ValueError:
        log.get_logger("espeer.test").exception("it failed")
    assert f"ValueError: {MARK} is a local variable" in records(stream)[0]["exception"]


def test_a_terminal_is_for_people_and_a_file_for_programs(configured: Configure) -> None:
    for form, stream, is_json in (
        ("auto", Terminal(), False),
        ("auto", io.StringIO(), True),
        ("json", Terminal(), True),
        ("human", io.StringIO(), False),
    ):
        logging.getLogger().handlers.clear()
        configured(form=form, stream=stream)
        log.get_logger("espeer.test").info("it works", number=7)
        said = stream.getvalue()
        assert said.startswith("{") == is_json
        assert "it works" in said
        assert ("\x1b[" in said) == (form == "auto" and not is_json)  # colours on a terminal alone


def failing(prompt: Prompt, _: Sampling) -> str:
    raise RuntimeError(f"cannot go on with {prompt}")


def test_a_terminal_obeys_nothing_that_is_logged(configured: Configure) -> None:
    stream = configured(stream=Terminal(), form="human")
    hostile = "\x1b]0;evil\x07\x9b2J\u202egpj.exe"
    log.get_logger("espeer.x").warning("refused", reason=hostile)
    logging.getLogger("library").warning("from %s\n12:00:00 [info ] all is well", hostile)
    said = stream.getvalue()
    assert "evil" in said
    assert not {"\x1b]", "\x07", "\x9b", "\u202e", "\n12:"} & {
        said[at : at + size] for at in range(len(said)) for size in (1, 2, 4)
    }


async def test_nothing_that_was_said_and_no_secret_is_logged(configured: Configure, tmp_path: Path) -> None:
    stream = configured()
    secrets = [KEY]
    private = Config(data=tmp_path / "a", private=True, episode_age=1e6, warming=False)
    async with Node(private, model=FakeModel()) as a, trio.open_nursery() as nursery:
        ticket = a.invite()
        secrets += [ticket, ticket[-40:], *forms(a.config.psk), *forms(identity_path(a.config.data).read_bytes()[:32])]
        joined = Config(data=tmp_path / "b", join=ticket, episode_age=1e6, warming=False)
        async with Node(joined, model=FakeModel()) as b:
            await nursery.start(control.serve, a, socket_path(a.config.data))
            experience = (await a.learn(f"{MARK} P7 shows E42.", feedback=f"Purge the {MARK}.", wait=True)).experience
            assert experience is not None
            with trio.fail_after(30):
                await arrived(b)
            answer = await b.ask(f"What of {MARK} E42?")
            await b.feedback(answer.id, f"Not the {MARK}.", good=False)
            await b.flush()
            exported = [line(fields(signed)) for signed in (await b.export()).records]
            await a.import_lines([*exported, *(text.replace(MARK, f"{MARK}s") for text in exported), MARK])
            await a.refine(threshold=0.1)
            await a.retract(experience)
            for verb, params in (
                ("ask", {"question": MARK, MARK: 1}),
                (MARK, {}),
                ("why", {"id": MARK}),
                ("learn", {"text": ""}),
            ):
                with pytest.raises(EspeerError):
                    await trio.to_thread.run_sync(lambda v=verb, p=params: request(a.config.data, v, p))
            await over_http(a, nursery)
        nursery.cancel_scope.cancel()
    broken = Config(data=tmp_path / "c", offline=True, episode_age=1e6, warming=False)
    async with Node(broken, model=FakeModel(failing)) as node:
        with pytest.raises(RuntimeError):
            await node.ask(f"{MARK}?")
        await node.learn(f"{MARK} again.", wait=True)
        with node.events.listening(lambda _: fail()):
            await node.learn(f"{MARK} once more.", wait=True)
    said = stream.getvalue()
    events = {record["event"] for record in records(stream)}
    assert {"node is up", "learnt", "refined", "cannot learn from an episode; it is left for the next start"} <= events
    assert MARK not in said
    for secret in secrets:
        assert secret not in said


async def arrived(node: Node) -> None:
    """Wait until a peer's record is there."""
    come = trio.Event()
    with node.events.listening(lambda event: come.set() if isinstance(event, Recorded) else None):
        if not await node.recall(f"{MARK} E42"):
            await come.wait()


def forms(secret: bytes | None) -> list[str]:
    """Give the forms that a key could stand in a log in."""
    assert secret is not None
    return [secret.hex(), base64.b64encode(secret).decode().rstrip("="), repr(secret)[2:-1]]


async def over_http(node: Node, nursery: trio.Nursery) -> None:
    served = Served()
    served.up(node)
    url = await nursery.start(serve, served, HttpSettings(address="127.0.0.1:0", key=KEY))
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {KEY}"}) as client:
        for path, body in (("recall", {"query": f"{MARK} E42"}), ("ask", {"question": f"{MARK}?"}), ("recall", {MARK: MARK})):
            assert (await client.post(f"/api/{path}", json=body)).status_code in (200, 422)
        assert (await client.post("/api/import", content=f"{MARK}\n")).json()["refused"] == 1
        assert (await client.get(f"/api/experiences/{MARK}")).status_code == 404
        assert (await client.get("/api/status", headers={"Authorization": f"Bearer {MARK}"})).status_code == 401
