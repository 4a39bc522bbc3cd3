"""Programs in JavaScript, driven by lines: a js-libp2p peer, and a judge of records."""

import json
import queue
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Self

HERE = Path(__file__).parent
PATIENCE = 30.0
"""Seconds that the slowest thing waited for may take."""

Event = dict[str, Any]


class Script:
    """A script that reads lines and writes lines. It ends with the block, by itself or not."""

    def __init__(self, node: str, name: str, *arguments: str, errors: IO[bytes] | None = None) -> None:
        self._process = subprocess.Popen(
            [node, HERE / name, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            bufsize=0,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._reader.join(PATIENCE)
            self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        pending = b""
        while data := self._process.stdout.read(65536):
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                self._lines.put(line.decode())
        self._lines.put(None)

    def write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")

    def read(self, seconds: float = PATIENCE) -> str:
        """The next line.

        :raises AssertionError: none in that time, or the script has ended.
        """
        try:
            line = self._lines.get(timeout=max(0.0, seconds))
        except queue.Empty:
            raise AssertionError("the script says nothing") from None
        assert line is not None, "the script has ended"
        return line


class JsPeer:
    """A js-libp2p peer of a topic type: peer.mjs has subscribed to its topic, sync.mjs speaks sync."""

    def __init__(self, script: Script, log: Path) -> None:
        self._script = script
        self._log = log
        self._seen: list[Event] = []
        up = self.wait("up")
        self.peer_id: str = up["peer"]
        self.author: str = up["author"]
        self.address: str = up["address"]

    def wait(self, event: str, **fields: object) -> Event:
        """Wait for an event with such fields, which is then forgotten."""
        deadline = time.monotonic() + PATIENCE
        wanted = {"event": event} | fields
        while True:
            for index, seen in enumerate(self._seen):
                if wanted.items() <= seen.items():
                    return self._seen.pop(index)
            try:
                self._seen.append(json.loads(self._script.read(deadline - time.monotonic())))
            except AssertionError as error:
                raise AssertionError(f"no {wanted}: {error}; seen: {self._seen}; {self._log.read_text()}") from error

    def say(self, **command: str) -> None:
        """Give a command that the script's head lists."""
        self._script.write(json.dumps(command))

    def dial(self, address: str) -> None:
        self.say(dial=address)

    def publish(self, *records: Mapping[str, object]) -> Event:
        """Publish records in one message, each with a type and a text, or the id that it retracts.

        One that is ``forged`` is not signed by its author.
        """
        self._script.write(json.dumps({"publish": records}))
        return self.wait("published")


class JsPeers:
    """Starts js-libp2p peers, and ends them with the block."""

    def __init__(self, node: str, logs: Path) -> None:
        self._node = node
        self._logs = logs
        self._count = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def start(
        self, network: str, type: str, relay: str = "", key_file: Path | None = None, *, script: str = "peer.mjs"
    ) -> JsPeer:
        """Start a peer, which with a relay's address is reached through that relay only, with a key in a private network."""
        self._count += 1
        log = self._logs / f"js-{self._count}.log"
        errors = self._stack.enter_context(log.open("wb"))
        arguments = (network, type, relay, *([str(key_file)] if key_file else []))
        return JsPeer(self._stack.enter_context(Script(self._node, script, *arguments, errors=errors)), log)
