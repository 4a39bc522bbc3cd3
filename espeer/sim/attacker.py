"""A bad peer as a process of its own, to see that it costs a node no more than a connection.

``python -m espeer.sim.attacker --target MULTIADDR --kind KIND`` attacks a node of this machine: any other address is
refused. It comes back when it is thrown out, first as the same peer and then as new ones, a few times each, and ends after
``--seconds``. Its last line of output is a JSON object that says what it got done.
"""

import argparse
import contextlib
import hashlib
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

import trio
from libp2p import new_host
from libp2p.crypto.x25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as Noise
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux
from multiaddr import Multiaddr  # type: ignore[import-untyped] # ships no types

from espeer.errors import EspeerError, InputError
from espeer.p2p import hardening
from espeer.p2p.addresses import parse_peer
from espeer.p2p.identity import Identity
from espeer.records import is_type
from espeer.sim.attacks import KINDS, MOST_BYTES, Session, Tally, ThrownOut

IDENTITIES: Final = 4
"""How many peers it is, one after the other."""
RETURNS: Final = 3
"""How often it comes back as the same peer."""
MOST_SECONDS: Final = 300.0
_PAUSE: Final = 1.0
_CONNECT_SECONDS: Final = 5.0
_CLOSE_SECONDS: Final = 1.0


@dataclass(slots=True)
class Outcome(Tally):
    """What the attacker got done in all.

    :ivar connections: how many times it was let in.
    :ivar refused: how many times it was not.
    :ivar thrown_out: how many times a connection was ended by the other side.
    """

    connections: int = 0
    refused: int = 0
    thrown_out: int = 0
    peers: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do to whom.

    :ivar target: the node's multiaddr with ``/p2p/PEERID``, on 127.0.0.1.
    :ivar kind: one of :data:`~espeer.sim.attacks.KINDS`.
    :ivar type: a type that the node holds.
    :raises EspeerError: the target is on another machine, or something else cannot be meant.
    """

    target: str
    kind: str
    seed: int
    seconds: float
    network: str
    type: str

    def __post_init__(self) -> None:
        """Refuse what must not be."""
        if not parse_peer(self.target).transport.startswith("/ip4/127.0.0.1/"):
            raise InputError(f"{self.target} is not on this machine: only /ip4/127.0.0.1/ may be attacked")
        if self.kind not in KINDS:
            raise InputError(f"kind {self.kind!r} is none of {', '.join(KINDS)}")
        if not 0 < self.seconds <= MOST_SECONDS or not is_type(self.network) or not is_type(self.type):
            raise InputError(f"give up to {MOST_SECONDS:g} seconds, and names of a network and a type")


async def attack(plan: Plan) -> Outcome:
    """Attack a node."""
    outcome = Outcome()
    with trio.move_on_after(plan.seconds):
        for number in range(IDENTITIES):
            identity = Identity(hashlib.sha256(f"attacker {plan.seed} {number}".encode()).digest())
            outcome.peers.append(identity.peer_id)
            for life in range(1 + RETURNS):
                rng = random.Random(f"{plan.seed} {number} {life}")  # noqa: S311 - to be repeatable, not secret
                await _session(plan, identity, rng, outcome)
                if outcome.sent > MOST_BYTES:
                    return outcome
                await trio.sleep(_PAUSE)
    return outcome


async def _session(plan: Plan, identity: Identity, rng: random.Random, outcome: Outcome) -> None:
    key_pair = identity.key_pair
    host = new_host(
        key_pair=key_pair,
        sec_opt={NOISE: Noise(key_pair, noise_privkey=create_new_key_pair().private_key)},
        muxer_opt={TProtocol(YAMUX): Yamux},
    )
    info = info_from_p2p_addr(Multiaddr(plan.target))
    async with host.run([]):
        try:
            with trio.fail_after(_CONNECT_SECONDS):
                await host.connect(info)
        except Exception:  # noqa: BLE001 - however it is kept out
            outcome.refused += 1
        else:
            outcome.connections += 1
            session = Session(host, identity, info, plan.network, plan.type, rng, outcome)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_end_with, session, nursery.cancel_scope, outcome)
                try:
                    await KINDS[plan.kind](session)
                except Exception as error:  # noqa: BLE001 - to be thrown out shows in many ways
                    print(f"{plan.kind}: {error!r}", file=sys.stderr)  # noqa: T201 - the log of this program
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(_CLOSE_SECONDS):
                await host.close()


async def _end_with(session: Session, scope: trio.CancelScope, outcome: Outcome) -> None:
    """End the attack when the connection is gone."""
    with contextlib.suppress(ThrownOut):
        await session.muxer.event_closed.wait()
    outcome.thrown_out += 1
    scope.cancel()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; the return value is its exit code."""
    parser = argparse.ArgumentParser("python -m espeer.sim.attacker", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--target", required=True, help="multiaddr of a node on 127.0.0.1, with /p2p/PEERID")
    parser.add_argument("--kind", required=True, choices=list(KINDS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--network", default="main")
    parser.add_argument("--type", default="general", help="a type that the node holds")
    given = parser.parse_args(arguments)
    hardening.apply()  # for its logging: libp2p would write to the terminal
    try:
        outcome = trio.run(attack, Plan(**vars(given)))
    except EspeerError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - for whoever started it
        return 1
    print(json.dumps({"kind": given.kind} | asdict(outcome)))  # noqa: T201 - what this program is for
    return 0


if __name__ == "__main__":
    sys.exit(main())
