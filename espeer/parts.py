"""What an open node is made of: opened in order, their tasks owned, closed in order."""

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from espeer import records
from espeer.config import Config
from espeer.door import NoDoor, ReplicaDoor
from espeer.events import Events, Linked, Recorded, Refined
from espeer.folder import claimed, identity_path, index_path, peers_path, states_path, store_path
from espeer.ground import Ground
from espeer.inference import Inference
from espeer.lifecycle.learner import Learner
from espeer.lifecycle.prompts import note
from espeer.lifecycle.refiner import Outcome, Refiner, Settings
from espeer.lifecycle.submitter import Submitter
from espeer.llm.engine import Engine
from espeer.llm.model import Model, Note
from espeer.llm.shared import load_model
from espeer.llm.spill import Spill
from espeer.membership import remember, settle
from espeer.p2p.door import Door
from espeer.p2p.identity import Identity, load_or_create
from espeer.p2p.slots import Limits
from espeer.p2p.swarm import Swarm, SwarmSettings
from espeer.recall import Recall
from espeer.records import Experience, SignedRecord
from espeer.replica import Replica
from espeer.store import Store
from espeer.submissions import Queue
from espeer.tasks import background, in_thread
from espeer.tokens import Tokenizer
from espeer.warming import Warming

_MB: Final = 1024 * 1024
_IN_MEMORY: Final = ":memory:"  # SQLite's name for a database without a file


@dataclass(frozen=True, slots=True)
class Here:
    """What a node that holds a replica has: every one but a client."""

    replica: Replica
    refiner: Refiner
    door: ReplicaDoor


@dataclass(frozen=True, slots=True)
class Client:
    """What a client has in place of it."""

    queue: Queue
    submitter: Submitter


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of an open node.

    :ivar config: the settings, with what the data folder added to them.
    :ivar publish: tells the network of new records of ours, and who watches the node.
    :ivar here: None on a client.
    :ivar client: None on every other node.
    """

    config: Config
    events: Events
    store: Store
    identity: Identity
    engine: Engine
    inference: Inference
    recall: Recall
    learner: Learner
    warming: Warming
    swarm: Swarm | None
    publish: Callable[[Sequence[SignedRecord]], None]
    here: Here | None
    client: Client | None


@asynccontextmanager
async def running(
    config: Config, *, model: Model | None, engine: Engine | None, clock: Callable[[], int], ground: Ground
) -> AsyncIterator[Parts]:
    """Open the parts of a node, and run their tasks within the block; at its end these are cancelled, and the parts closed.

    The parameters are those of :func:`open_parts`.
    """
    with ExitStack() as stack:
        parts = await open_parts(config, stack, model=model, engine=engine, clock=clock, ground=ground)
        async with background() as nursery:
            if engine is None:
                await nursery.start(parts.engine.run)
            if parts.swarm:
                await nursery.start(parts.swarm.run)
            if parts.config.learning:
                await nursery.start(parts.learner.run)
            if parts.config.refining and parts.here:
                await nursery.start(parts.here.refiner.run)
            if parts.config.warming:
                await nursery.start(parts.warming.run)
            if parts.client:
                nursery.start_soon(parts.client.submitter.run)
            yield parts


async def open_parts(
    config: Config, stack: ExitStack, *, model: Model | None, engine: Engine | None, clock: Callable[[], int], ground: Ground
) -> Parts:
    """Open the parts of a node, each to be closed by the stack.

    :param model: a loaded model, in place of the one that the settings name.
    :param engine: one that somebody else runs, in place of the model.
    :param clock: milliseconds since the Unix epoch.
    :param ground: its disk, its identity, its way into the network.
    """
    if ground.on_disk:
        await in_thread(stack.enter_context, claimed(config.data))
    config, member = await in_thread(settle, config)
    events = Events()
    store = await in_thread(Store.open, store_path(config.data) if ground.on_disk else Path(_IN_MEMORY))
    stack.callback(store.close)
    identity = await in_thread(load_or_create, identity_path(config.data)) if ground.identity is None else ground.identity
    queue = Queue(store, types=config.types)
    replica = None
    if config.role != "client":
        replica = await in_thread(_open_replica, config, store, clock, index_path(config.data) if ground.on_disk else None)
        stack.callback(replica.save_index)
        if not config.offline:
            await in_thread(queue.move_to, replica)
    if engine is None:
        model = model or await _load_model(config, replica)
        stack.callback(model.close)
        engine = Engine(model)
    warming = _make_warming(config, replica, engine)

    def tell(new: Sequence[SignedRecord], via: str) -> None:
        warming.wake()
        for signed in new:
            events.emit(_recorded(signed, via))

    if replica is not None:
        replica.hidden = engine.forget
    door = None if replica is None else ReplicaDoor(replica, tell=tell)
    swarm = None if config.offline else _make_swarm(config, identity, door or NoDoor(), clock, events, ground=ground)
    if member is not None and ground.on_disk:  # not before: a start that fails must not bind the folder to a network
        await in_thread(remember, config.data, member)

    def sign(experience: Experience) -> SignedRecord:
        return records.sign(experience, identity.sign)

    client = _make_client(queue, swarm) if swarm and replica is None else None

    def publish(new: Sequence[SignedRecord]) -> None:
        tell(new, "own")
        if client:
            client.submitter.wake()
        elif swarm:
            swarm.publish(new)

    recall = Recall(
        replica,
        swarm.others if swarm else None,
        types=config.types,
        terms=Tokenizer(language=config.language),
        seconds=config.recall_seconds,
        ask_peers=config.ask_peers,
    )
    learner = Learner(
        store,
        queue if replica is None else replica,
        engine,
        author=identity.public,
        sign=sign,
        publish=publish,
        clock=clock,
        episode_size=config.episode_size,
        episode_age=config.episode_age,
        check_room=queue.check_room if client else lambda: None,
    )
    return Parts(
        config=config,
        events=events,
        store=store,
        identity=identity,
        engine=engine,
        inference=Inference(
            engine, recall, answer_tokens=config.answer_tokens, answer_seconds=config.answer_seconds, tell=events.emit
        ),
        recall=recall,
        learner=learner,
        warming=warming,
        swarm=swarm,
        publish=publish,
        here=None
        if replica is None or door is None
        else Here(replica, _make_refiner(config, replica, engine, events, identity=identity, sign=sign, clock=clock), door),
        client=client,
    )


async def _load_model(config: Config, replica: Replica | None) -> Model:
    spill = await in_thread(_open_spill, config, replica)
    keep = config.kv_cache_mb * _MB
    return await load_model(config.model, context=config.context, threads=config.threads, keep=keep, spill=spill)


def _open_spill(config: Config, replica: Replica | None) -> Spill | None:
    """Open the states on disk, without those of experiences that were retracted, superseded or evicted: they tell of them."""
    folder = states_path(config.data)
    if not config.kv_disk_mb and not folder.exists():
        return None
    spill = Spill(folder, config.kv_disk_mb * _MB)  # which, with 0, empties the folder
    if not config.kv_disk_mb:
        with suppress(OSError):
            folder.rmdir()
        return None
    if replica is not None:
        spill.keep_only(id_ for type_ in config.types for id_ in replica.active(type_))
    return spill


def _make_warming(config: Config, replica: Replica | None, engine: Engine) -> Warming:
    async def likely(limit: int) -> list[Note]:
        """Give what is held here; a client, that holds nothing, warms what its prompts begin with."""
        held = await in_thread(replica.likely, limit) if replica is not None and config.recall else []
        return [note(one.id, one.experience.text) for one in held if one.experience is not None]

    return Warming(engine, likely, ranks=config.recall)


def _recorded(signed: SignedRecord, via: str) -> Recorded:
    record = signed.record
    return Recorded(
        signed.id.hex(), "experience" if isinstance(record, Experience) else "retraction", record.type, record.author, via
    )


def _make_client(queue: Queue, swarm: Swarm) -> Client:
    rng = random.Random()  # noqa: S311 - spreads tries over time; nothing secret
    return Client(queue, Submitter(queue, connected=swarm.others.server, submit=swarm.others.submit, rng=rng))


def _make_refiner(
    config: Config,
    replica: Replica,
    engine: Engine,
    events: Events,
    *,
    identity: Identity,
    sign: Callable[[Experience], SignedRecord],
    clock: Callable[[], int],
) -> Refiner:
    def tell(outcome: Outcome) -> None:
        events.emit(
            Refined(
                outcome.run,
                outcome.before,
                outcome.after,
                outcome.seconds,
                condensed=outcome.condensed + outcome.extracted,
                merged=outcome.merged,
                evicted=outcome.evicted,
            )
        )

    return Refiner(
        replica,
        engine,
        tell=tell,
        author=identity.public,
        sign=sign,
        clock=clock,
        settings=Settings(
            scale=config.refine_scale,
            threshold=config.refine_threshold,
            after=config.refine_after,
            max_records=config.max_records,
            max_bytes=config.max_bytes,
        ),
    )


def _open_replica(config: Config, store: Store, clock: Callable[[], int], index: Path | None) -> Replica:
    return Replica(
        store,
        types=config.types,
        clock=clock,
        index_path=index,
        k1=config.k1,
        b=config.b,
        language=config.language,
    )


def _make_swarm(
    config: Config, identity: Identity, door: Door, clock: Callable[[], int], events: Events, *, ground: Ground
) -> Swarm:
    settings = SwarmSettings(
        network=config.network,
        types=() if config.role == "client" else config.types,
        listen=() if config.role == "client" else config.listen,
        announce=config.announce,
        bootstrap=config.bootstrap,
        repair_interval=config.repair_interval,
        allow=config.allow,
        deny=config.deny,
        psk=config.psk,
        met_file=peers_path(config.data) if ground.on_disk and config.role != "client" else None,
        relays=config.relays,
        relay_service=Limits() if config.relay_service else None,
        mdns=config.mdns,
        servers=config.servers,
        accept=config.role == "server",
    )

    def linked(peer_id: str, connected: bool) -> None:
        events.emit(Linked(peer_id, connected))

    return Swarm(identity, door, settings, clock=clock, rng=ground.rng, linked=linked, enter=ground.enter)
