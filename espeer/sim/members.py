"""The nodes of a running scenario: started, joined, killed, asked."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from espeer.sim import processes
from espeer.sim.fleet import Device, Fleet, FleetError
from espeer.sim.processes import Sample
from espeer.sim.proxies import HOST, Proxies
from espeer.sim.scenario import Nodes

NETWORK: Final = "sim"

_ASK_SECONDS: Final = 60.0
_MEET_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.2
_MESHED: Final = 4
"""A node counts as joined when it has so many peers, or all there are."""


@dataclass(slots=True)
class Member:
    """A node.

    :ivar launched: milliseconds since the Unix epoch, when its process was started.
    :ivar up: the same, when it answered for the first time; 0 before.
    :ivar address: where others reach it.
    :ivar killed: the runner killed it.
    :ivar samples: what its process used, once a second.
    """

    name: str
    device: Device
    launched: int
    up: int = 0
    address: str = ""
    killed: bool = False
    samples: list[Sample] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        """Whether it is up, and neither killed nor ended by itself."""
        return bool(self.up) and not self.killed and self.device.process.poll() is None

    async def ask(self, verb: str, **params: Any) -> Any:
        """Have it do something, see :mod:`espeer.api.control`.

        :raises ControlError: it does not answer, or not with what was asked for.
        :raises FleetError: it takes too long.
        """
        with trio.move_on_after(_ASK_SECONDS):
            return await trio.to_thread.run_sync(partial(self.device.ask, verb, **params), abandon_on_cancel=True)
        raise FleetError(f"node {self.name} did not answer {verb!r} within {_ASK_SECONDS:.0f} s; see its log {self.device.log}")


class Members:
    """The nodes of a scenario by name.

    :param folder: where their data folders lie.
    :param proxied: put a proxy in front of each, so that :attr:`proxies` can part them.
    :param nursery: where proxies run.
    """

    def __init__(self, fleet: Fleet, folder: Path, nodes: Nodes, *, proxied: bool, nursery: trio.Nursery) -> None:
        self.all: dict[str, Member] = {}
        self.proxies: Final = Proxies(self._pids, self._port)
        self._fleet = fleet
        self._folder = folder
        self._nodes = nodes
        self._proxied = proxied
        self._nursery = nursery
        self._up: defaultdict[str, trio.Event] = defaultdict(trio.Event)

    def alive(self, names: Sequence[str] = ()) -> list[Member]:
        """Return those of the members (by default of all) that are up."""
        return [member for name, member in self.all.items() if member.alive and (not names or name in names)]

    def folder(self, name: str) -> Path:
        """Return a member's data folder."""
        return self._folder / name

    async def get(self, name: str) -> Member:
        """Wait until a member is up, and return it."""
        await self._up[name].wait()
        return self.all[name]

    async def start(self, name: str, *, bootstrap: Sequence[str] = ()) -> Member:
        """Start a node and wait until it is up.

        :raises FleetError: it does not come up.
        """
        options = ["--model", "fake", "--episode-size", "1", "--network", NETWORK]
        options += ["--no-http"]  # the network is measured; and a proxy leads to the one port that a node listens on
        options += ["--repair-interval", f"{self._nodes.repair_interval:g}"]
        options += [] if self._nodes.refining else ["--no-refining"]
        options += [part for name_ in self._nodes.types for part in ("--type", name_)]
        proxy: int | None = await self._nursery.start(self.proxies.open, name) if self._proxied else None
        options += ["--announce", f"/ip4/{HOST}/tcp/{proxy}"] if proxy else []
        launched = now_ms()
        device = self._fleet.start(name, *options, *self._nodes.options, bootstrap=bootstrap)
        member = self.all[name] = Member(name, device, launched)
        status = await trio.to_thread.run_sync(device.await_up, abandon_on_cancel=True)
        member.up = now_ms()
        member.address = f"/ip4/{HOST}/tcp/{proxy}/p2p/{status['peer_id']}" if proxy else status["addresses"][0]
        self._up[name].set()
        return member

    async def kill(self, member: Member) -> None:
        """End a node at once, as a power cut does."""
        member.killed = True
        await trio.to_thread.run_sync(member.device.kill)

    async def meet(self) -> None:
        """Wait until every member that is up has peers enough.

        :raises FleetError: one has not in time.
        """
        wanted = min(len(self.alive()) - 1, _MESHED)
        with trio.move_on_after(_MEET_SECONDS):
            for member in self.alive():
                while (await member.ask("status"))["peers"] < wanted:  # noqa: ASYNC110 - another process tells us nothing by itself
                    await trio.sleep(_POLL_SECONDS)
            return
        raise FleetError(f"not every node found {wanted} peers within {_MEET_SECONDS:.0f} s")

    async def counters(self) -> dict[str, Mapping[str, int]]:
        """Return the network counters of those that are up."""
        return {member.name: (await member.ask("status"))["network"] for member in self.alive()}

    def _pids(self) -> dict[int, str]:
        return {member.device.process.pid: name for name, member in self.all.items() if not member.killed}

    def _port(self, name: str) -> int | None:
        return processes.listening(self.all[name].device.process.pid) if name in self.all else None


def now_ms() -> int:
    """Return milliseconds since the Unix epoch: the clock that nodes stamp records with."""
    return time.time_ns() // 1_000_000
