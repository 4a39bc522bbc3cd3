"""A fleet of real `espeer node` processes on this machine, each with a data folder of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from espeer.api.client import request
from espeer.errors import EspeerError, NodeNotRunning
from espeer.places import CONFIG, HOME

START_SECONDS: Final = 120.0
"""How long a node may take to be up: the first one on a machine prepares the model's weights."""

_STOP_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.05


class FleetError(EspeerError):
    """A node of the fleet did not do what it should."""


@dataclass(frozen=True, slots=True)
class Device:
    """One node process of the fleet.

    :ivar name: what it is called in the fleet.
    :ivar data: its data folder; its log lies in there.
    """

    name: str
    data: Path
    process: subprocess.Popen[bytes]

    def ask(self, verb: str, **params: Any) -> Any:
        """Have the node do something, see :mod:`espeer.api.control`."""
        return request(self.data, verb, params)

    def kill(self) -> None:
        """End it at once, as a power cut does."""
        self.process.kill()
        self.process.wait()

    @property
    def log(self) -> Path:
        """Where the node's output goes."""
        return self.data / "log"

    def await_up(self) -> dict[str, Any]:
        """Wait until the node answers; return its status.

        :raises FleetError: it ended, or is not up in time; the message holds the last line of its log.
        """
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                status: dict[str, Any] = self.ask("status")
            except NodeNotRunning:
                time.sleep(_POLL_SECONDS)
            else:
                return status
        last = self.log.read_text(errors="replace").strip().splitlines()[-1:] or ["nothing"]
        raise FleetError(f"node {self.name} is not up; its log {self.log} ends with: {last[0]}")

    def await_status(self, seconds: float, wanted: Any) -> dict[str, Any]:
        """Wait until ``wanted(status)`` is true; return that status.

        :raises FleetError: it is not true in time.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            status = self.await_up()
            if wanted(status):
                return status
            time.sleep(_POLL_SECONDS)
        raise FleetError(f"node {self.name} did not get there in {seconds:.0f} s; see its log {self.log}")


class Fleet:
    """Node processes that end with the block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        """Begin an empty fleet."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop all nodes, beside each other."""
        for process in self._processes:
            interrupt(process)
        for process in self._processes:
            end(process)

    def start(self, name: str, *options: str, bootstrap: Sequence[str] = ()) -> Device:
        """Start a node without waiting for it."""
        data = self._folder / name
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        joined = [part for address in bootstrap for part in ("--bootstrap", address)]
        command = [sys.executable, "-m", "espeer", "node", "--data", str(data), *joined, *options]
        with (data / "log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - our own program
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environment()
            )
        self._processes.append(process)
        return Device(name, data, process)


def _environment() -> dict[str, str]:
    """The environment without the settings of this user's own node, which are not those of the fleet."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("ESPEER_") or name == HOME}
    return others | {CONFIG: os.devnull}


def interrupt(process: subprocess.Popen[bytes]) -> None:
    """Have a process stop as Ctrl-C does, unless it has ended."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)


def end(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process that was interrupted, and end it for good if it does not listen."""
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
