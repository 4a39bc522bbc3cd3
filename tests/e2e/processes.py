"""Real processes: nodes, and the command line that talks to them."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from espeer.api.client import request
from espeer.errors import NodeNotRunning, RemoteError
from espeer.folder import socket_path

START_SECONDS = 120.0
"""The first node of a machine prepares the model's weights."""

STOP_SECONDS = 3.0
SLACK_SECONDS = 1.0
"""What a machine may add to a node's :data:`STOP_SECONDS` that runs other tests at the same time."""

CLI_SECONDS = 120.0
POLL_SECONDS = 0.05

T = TypeVar("T")

ESPEER = (sys.executable, "-m", "espeer")


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one line of JSON that it printed."""
        assert self.code == 0, self
        assert self.out.endswith("\n"), self
        assert self.out.count("\n") == 1, self
        return json.loads(self.out)


def espeer(*arguments: str | bytes | Path, stdin: bytes = b"", seconds: float = CLI_SECONDS) -> Said:
    """Run the command line and wait for its end."""
    done = subprocess.run([*ESPEER, *arguments], input=stdin, capture_output=True, timeout=seconds, check=False)
    return Said(done.returncode, done.stdout.decode(), done.stderr.decode())


def refusal(*arguments: str | bytes | Path, stdin: bytes = b"", code: int = 1) -> str:
    """Run a command that must fail with one line on standard error and nothing else; return that line."""
    return refused(espeer(*arguments, stdin=stdin), code=code)


def refused(said: Said, *, code: int = 1) -> str:
    """See that a command failed with one line on standard error and nothing else; return that line.

    A node that came far enough may have logged what it did before.
    """
    assert said.code == code, said
    assert said.out == "", said
    lines = [line for line in said.err.splitlines(keepends=True) if '"level": "info"' not in line]
    assert len(lines) == 1, said
    assert lines[0].startswith("espeer: "), said
    assert lines[0].endswith("\n"), said
    assert "unexpected" not in lines[0], said
    assert "its log says why" not in lines[0], said
    return lines[0]


@dataclass(frozen=True, slots=True)
class Run:
    """A command line to run."""

    arguments: Sequence[str | bytes | Path]
    stdin: bytes = b""


def run_all(runs: Mapping[str, Run]) -> dict[str, Said]:
    """Run command lines beside each other, which is quicker where there is a second core."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        under_way = {name: pool.submit(espeer, *run.arguments, stdin=run.stdin) for name, run in runs.items()}
        return {name: future.result() for name, future in under_way.items()}


def eventually(what: str, found: Callable[[], T | None], *, seconds: float = 60.0) -> T:
    """Wait until ``found`` gives something, and return it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := found():
            return value
        time.sleep(POLL_SECONDS)
    raise AssertionError(f"{what}: not within {seconds:.0f} s")


@dataclass(frozen=True, slots=True)
class NodeProcess:
    """A node in a process of its own."""

    data: Path
    log: Path
    process: subprocess.Popen[bytes]

    def ask(self, verb: str, **params: Any) -> Any:
        """Have it do something over its control socket, which is much quicker than the command line."""
        return request(self.data, verb, params)

    def status(self) -> dict[str, Any] | None:
        """Its status, or None while it is not up."""
        assert self.process.poll() is None, f"the node ended with {self.process.returncode}: {self.said()}"
        try:
            status: dict[str, Any] = self.ask("status")
        except NodeNotRunning:
            return None
        return status

    def up(self) -> dict[str, Any]:
        """Wait until it answers; return its status."""
        return eventually("the node is up", self.status, seconds=START_SECONDS)

    def holds(self, experience: str) -> dict[str, Any] | None:
        """The experience of that id, or None while it is not there."""
        try:
            found: dict[str, Any] = self.ask("experience", id=experience)
        except RemoteError:
            return None
        return found

    def said(self) -> str:
        """All that it said so far."""
        return self.log.read_text(errors="replace")

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The records of that event in its log."""
        records = [json.loads(line) for line in self.said().splitlines() if line.startswith("{")]
        return [record for record in records if event in record["event"]]

    def kill(self) -> None:
        """End it at once, as a power cut does."""
        self.process.kill()
        self.process.wait()

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it as its user does, and see that it ends in time and in good order."""
        began = time.monotonic()
        self.process.send_signal(how)
        code = self.process.wait(STOP_SECONDS + 10)
        seconds = time.monotonic() - began
        assert seconds < STOP_SECONDS + SLACK_SECONDS, f"it took {seconds:.1f} s to stop"
        assert code == 0, f"exit code {code}: {self.said()}"
        assert "Traceback" not in self.said()
        assert not socket_path(self.data).exists()


class Nodes:
    """Starts nodes, and ends them with the block."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._count = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def start(
        self,
        data: Path,
        *options: str | Path,
        model: str | None = "fake",
        up: bool = True,
        http: bool = False,
        inside: Sequence[str] = (),
        stdin: bytes = b"",
    ) -> NodeProcess:
        """Start a node on a data folder, and wait until it is up; ``inside`` begins a command line to run it by.

        Without HTTP, which starts sooner, unless the options say where it is, or it is wanted where it usually is.
        """
        self._count += 1
        path = self._logs / f"node-{self._count}.log"
        chosen = ["--model", model] if model else []
        without = [] if http or {"--http", "--no-http"} & {*map(str, options)} else ["--no-http"]
        command = [*inside, *ESPEER, "node", "--data", data, *chosen, *without, *options]
        with path.open("wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
        assert process.stdin is not None
        with process.stdin as typed:
            typed.write(stdin)
        self._stack.callback(_end, process)
        node = NodeProcess(data, path, process)
        if up:
            node.up()
        return node


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
