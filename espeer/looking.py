"""What an open node says of itself: how it is doing, and how others join its network."""

import importlib.metadata
from dataclasses import asdict

from espeer.config import Config
from espeer.errors import InputError
from espeer.lifecycle import prompts
from espeer.p2p import ticket
from espeer.p2p.addresses import Reach, parse_peer
from espeer.p2p.ticket import Ticket
from espeer.parts import Parts
from espeer.status import Status
from espeer.tasks import in_thread


async def status(parts: Parts) -> Status:
    """Return how a node is doing."""
    config, engine, store, swarm = parts.config, parts.engine, parts.store, parts.swarm
    return Status(
        version=importlib.metadata.version("espeer"),
        peer_id=parts.identity.peer_id,
        addresses=tuple(swarm.addresses()) if swarm else (),
        network_name=config.network,
        role=config.role,
        private=config.psk is not None,
        types=config.types,
        model=engine.model.name,
        prompts=prompts.VERSION,
        peers=len(swarm.peers()) if swarm else 0,
        records=tuple(await in_thread(store.counts)),
        store_bytes=await in_thread(store.size),
        methods=await in_thread(store.method_counts, parts.identity.public),
        interactions=await in_thread(store.interactions),
        learning=parts.learner.waiting,
        queued=await in_thread(len, parts.client.queue) if parts.client else 0,
        waiting=engine.waiting,
        waiting_by_priority={priority.name.lower(): number for priority, number in engine.waiting_by_priority.items()},
        engine=engine.model.statistics(),
        network=asdict(swarm.counters) if swarm else {},
    )


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
