"""Real nodes on a simulated network, each with a model whose times are a profile's."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from espeer.config import Config
from espeer.errors import EspeerError
from espeer.ground import Ground
from espeer.llm.engine import Engine
from espeer.log import get_logger
from espeer.node import Node
from espeer.p2p.door import Counters
from espeer.p2p.identity import SEED_SIZE, Identity
from espeer.sim.virtual.host import Host
from espeer.sim.virtual.machine import Machine
from espeer.sim.virtual.model import ProfiledModel
from espeer.sim.virtual.network import Air, Network
from espeer.sim.virtual.plan import Plan
from espeer.sim.virtual.profile import Profile

EPOCH_MS: Final = 1_800_000_000_000
"""When a simulation begins, by its nodes' clocks."""
FRIENDS: Final = 3
"""Of so many nodes that are there a node has the address when it joins."""
_TYPE: Final = "general"

log = get_logger(__name__)


def now_ms() -> int:
    """Return the time by the nodes' clocks."""
    return EPOCH_MS + int(trio.current_time() * 1000)


@dataclass(eq=False, slots=True)
class Member:
    """A node.

    :ivar born: its number.
    :ivar up: when it was up, by its clock; 0 before.
    :ivar counters: of its network part, which outlive it.
    :ivar asks: milliseconds to the first token of each answer.
    """

    born: int
    identity: Identity
    up: int = 0
    node: Node | None = None
    host: Host | None = None
    model: ProfiledModel | None = None
    counters: Counters = field(default_factory=Counters)
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    asks: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What it is called in measurements."""
        return f"n{self.born}"

    @property
    def running(self) -> Node:
        """The node, which is up."""
        if self.node is None:
            raise RuntimeError(f"{self.name} is not up")
        return self.node


class Fleet:
    """The nodes of a simulation.

    :param nursery: where they live.
    :ivar failed: how many lessons and questions came to nothing: their node failed, or went meanwhile.
    """

    def __init__(self, plan: Plan, profile: Profile, nursery: trio.Nursery) -> None:
        self.plan: Final = plan
        self.rng: Final = random.Random(plan.seed)  # noqa: S311 - nothing secret
        air = Air(plan.latency_ms, plan.latency_spread, plan.loss, plan.mbit, plan.hop_ms, random.Random(plan.seed + 1))  # noqa: S311 - as above
        self.network: Final = Network(air, random.Random(plan.seed + 2), [0.0] * plan.cores)  # noqa: S311 - as above
        self.up: Final[list[Member]] = []
        self.gone: Final[list[Member]] = []
        self._profile = profile
        self._machine = Machine(plan.cores, profile.threads)
        self._nursery = nursery
        self._born = 0
        self.failed = 0

    def new(self) -> Member:
        """Make a member that is not up yet."""
        self._born += 1
        return Member(self._born, Identity(self.rng.randbytes(SEED_SIZE)))

    async def start(self, member: Member) -> None:
        """Bring a node up, among some of those that are there."""
        await self._nursery.start(self._live, member)
        self.up.append(member)

    def stop(self, member: Member) -> None:
        """End a node at once; others see its connections break."""
        self.up.remove(member)
        self.gone.append(member)
        member.scope.cancel()

    async def _live(self, member: Member, *, task_status: trio.TaskStatus[None]) -> None:
        friends = self.rng.sample(self.up, min(FRIENDS, len(self.up)))
        config = Config(
            data=Path("/nonexistent/espeer-simulation"),  # nothing is written there: see Ground
            network="sim",
            types=(_TYPE,),
            bootstrap=tuple(address for friend in friends for address in friend.running.addresses()),
            episode_size=1,
            refine_after=self.plan.refine_after,
            repair_interval=self.plan.repair_interval,
            warming=self.plan.warming,
        )
        ground = Ground(
            on_disk=False,
            identity=member.identity,
            enter=self.network.enter,
            rng=random.Random(self.rng.random()),  # noqa: S311 - as above
        )
        member.model = model = ProfiledModel(self._profile, self._machine, kv_cache_mb=config.kv_cache_mb)
        engine = Engine(model, in_thread=False, spend=model.spend)
        with member.scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(engine.run)
                async with Node(config, engine=engine, clock=now_ms, ground=ground) as node:
                    member.node, member.up = node, now_ms()
                    member.host = self.network.hosts[member.identity.peer_id]
                    swarm = node._parts.swarm  # noqa: SLF001 - status() would count all records, too
                    member.counters = swarm.counters if swarm else member.counters
                    task_status.started()
                    await trio.sleep_forever()

    # -- what they do

    async def learn(self, member: Member, text: str, feedback: str) -> None:
        """Have a node learn something; it need not be distilled when this returns."""
        with self._unless_gone(member, "not learnt"):
            await member.running.learn(text, feedback=feedback, type=_TYPE)

    async def ask(self, member: Member, question: str) -> None:
        """Have a node answer."""
        with self._unless_gone(member, "not answered"):
            answer = await member.running.ask(question)
            member.asks.append(answer.ttft_ms)

    @contextmanager
    def _unless_gone(self, member: Member, what: str) -> Iterator[None]:
        """Go on where a node fails or is stopped in the middle of something."""
        try:
            yield
        except EspeerError as error:
            self.failed += 1
            log.warning(what, node=member.name, reason=str(error))
        except RuntimeError:  # what a node raises that is not open any more
            if member in self.up:
                raise
            self.failed += 1
