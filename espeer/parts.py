"""What an open node is made of, and how it is put together."""

import random
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import trio

from espeer import records
from espeer.config import Config
from espeer.door import ReplicaDoor
from espeer.folder import claimed, identity_path, index_path, store_path
from espeer.inference import Inference
from espeer.lifecycle.learner import Learner
from espeer.lifecycle.refiner import Refiner, Settings
from espeer.llm.engine import Engine
from espeer.llm.loading import open_model
from espeer.llm.model import Model
from espeer.p2p.identity import Identity, load_or_create
from espeer.p2p.slots import Limits
from espeer.p2p.swarm import Swarm
from espeer.records import Experience, SignedRecord
from espeer.replica import Replica
from espeer.store import Store
from espeer.tasks import in_thread


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of an open node."""

    store: Store
    identity: Identity
    replica: Replica
    engine: Engine
    inference: Inference
    learner: Learner
    refiner: Refiner
    swarm: Swarm | None


async def open_parts(config: Config, stack: ExitStack, *, model: Model | None, clock: Callable[[], int]) -> Parts:
    """Open the parts of a node, each to be closed by the stack.

    :param model: a loaded model, in place of the one that the settings name.
    :param clock: milliseconds since the Unix epoch.
    """
    await in_thread(stack.enter_context, claimed(config.data))
    store = await in_thread(Store.open, store_path(config.data))
    stack.callback(store.close)
    identity = await in_thread(load_or_create, identity_path(config.data))
    replica = await in_thread(_open_replica, config, store, clock)
    stack.callback(replica.save_index)
    model = model or await _load_model(config)
    stack.callback(model.close)
    engine = Engine(model)
    swarm = None if config.offline else _make_swarm(config, identity, replica, clock)

    def sign(experience: Experience) -> SignedRecord:
        return records.sign(experience, identity.sign)

    return Parts(
        store=store,
        identity=identity,
        replica=replica,
        engine=engine,
        inference=Inference(engine, replica, answer_tokens=config.answer_tokens),
        swarm=swarm,
        learner=Learner(
            store,
            replica,
            engine,
            author=identity.public,
            sign=sign,
            publish=swarm.publish if swarm else lambda _: None,
            clock=clock,
            episode_size=config.episode_size,
            episode_age=config.episode_age,
        ),
        refiner=Refiner(
            replica,
            engine,
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
        ),
    )


def _open_replica(config: Config, store: Store, clock: Callable[[], int]) -> Replica:
    return Replica(
        store,
        types=config.types,
        clock=clock,
        index_path=index_path(config.data),
        k1=config.k1,
        b=config.b,
        language=config.language,
    )


async def _load_model(config: Config) -> Model:
    return await trio.to_thread.run_sync(
        lambda: open_model(config.model, context=config.context, threads=config.threads),
        abandon_on_cancel=True,  # it can take minutes, and what it leaves behind is an unused model
    )


def _make_swarm(config: Config, identity: Identity, replica: Replica, clock: Callable[[], int]) -> Swarm:
    return Swarm(
        identity,
        ReplicaDoor(replica),
        network=config.network,
        types=config.types,
        listen=config.listen,
        bootstrap=config.bootstrap,
        clock=clock,
        rng=random.Random(),  # noqa: S311 - spreads repair rounds over time; nothing secret
        repair_interval=config.repair_interval,
        allow=config.allow,
        deny=config.deny,
        relays=config.relays,
        relay_service=Limits() if config.relay_service else None,
        mdns=config.mdns,
    )
