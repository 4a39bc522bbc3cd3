"""What an open node says of itself: how it is doing, and how others join its network."""

import importlib.metadata
from dataclasses import asdict
from functools import cache
from typing import Any

from espeer.config import Config
from espeer.errors import InputError
from espeer.lifecycle import prompts
from espeer.p2p import ticket
from espeer.p2p.addresses import Reach, parse_peer
from espeer.p2p.ticket import Ticket
from espeer.parts import Parts
from espeer.status import Status
from espeer.store import Store
from espeer.tasks import in_thread


async def status(parts: Parts) -> Status:
    """Return how a node is doing."""
    config, engine, store, swarm = parts.config, parts.engine, parts.store, parts.swarm
    return Status(
        version=_version(),
        peer_id=parts.identity.peer_id,
        addresses=tuple(swarm.addresses()) if swarm else (),
        network_name=config.network,
        role=config.role,
        private=config.psk is not None,
        types=config.types,
        model=engine.model.name,
        prompts=prompts.VERSION,
        peers=len(swarm.peers()) if swarm else 0,
        **await in_thread(_counted, store, parts.identity.public),
        learning=parts.learner.waiting,
        queued=await in_thread(len, parts.client.queue) if parts.client else 0,
        waiting=engine.waiting,
        waiting_by_priority={priority.name.lower(): number for priority, number in engine.waiting_by_priority.items()},
        busy_by_priority={priority.name.lower(): round(spent, 3) for priority, spent in engine.busy_by_priority.items()},
        engine=engine.model.statistics(),
        network=asdict(swarm.counters) if swarm else {},
    )


def _counted(store: Store, author: bytes) -> dict[str, Any]:
    """What the store tells, in one go: each visit to a thread costs more than these."""
    return {
        "records": tuple(store.counts()),
        "store_bytes": store.size(),
        "methods": store.method_counts(author),
        "interactions": store.interactions(),
    }


@cache
def _version() -> str:
    """What is installed; read from files once, for a node is asked every other second."""
    return importlib.metadata.version("espeer")


def invitation(config: Config, reached: list[str]) -> str:
    """Return a ticket by which another node joins the network.

    :param reached: the node's own addresses.
    :raises InputError: the node is offline.
    """
    addresses = sorted(map(parse_peer, reached or config.servers), key=lambda address: -address.reach)  # a client has none
    if not addresses:
        raise InputError("this node has no network to invite to: it is offline")
    told = [address for address in addresses if address.reach is not Reach.MACHINE] or addresses
    return ticket.encode(Ticket(config.network, config.psk, tuple(map(str, told[: ticket.MAX_ADDRESSES])), config.types))
