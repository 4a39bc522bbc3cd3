"""The node: what an app around it calls."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import trio

from espeer import looking, records
from espeer.answers import GivenAnswer, given, note_feedback
from espeer.asking import AskOptions, count
from espeer.backup import Backup, back_up
from espeer.config import Config
from espeer.conversation import Turn, read
from espeer.errors import InputError, NetworkError
from espeer.events import Events
from espeer.ground import Ground
from espeer.inference import Answer, AnswerStream, Choice
from espeer.interaction import Interaction
from espeer.lifecycle import calibration
from espeer.lifecycle.choice import MAX_CHOICES, MIN_CHOICES
from espeer.lifecycle.refiner import Outcome, Proposal
from espeer.lifecycle.runs import Run, Undone, Why
from espeer.llm.engine import Engine
from espeer.llm.model import Model
from espeer.log import get_logger
from espeer.p2p.identity import Identity
from espeer.p2p.swarm import PeerView
from espeer.parts import Here, Parts, running
from espeer.replica import IMPORTED, Held, Hit
from espeer.scale import Scale
from espeer.status import Learnt, Retracted, Status
from espeer.store import MAX_ROW
from espeer.tasks import in_thread
from espeer.text import MAX_INPUT, clean
from espeer.transfer import MAX_PAGE, ExportPage, Imported, read_batch

_USUAL: Final = AskOptions()

log = get_logger(__name__)


class Node:
    """A node: ``async with Node(config) as node``.

    Entering loads the model, opens the data folder and starts listening; leaving stops everything and loses nothing that
    was acknowledged. All methods are for use inside the block.

    :param model: a loaded model, in place of ``config.model``; the node closes it in the end.
    :param engine: one that several nodes use, in place of a model of this node's own; see :func:`espeer.shared_model`.
    :param clock: milliseconds since the Unix epoch.
    :param ground: what stands in for its disk, its identity and the network in a simulation.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        model: Model | None = None,
        engine: Engine | None = None,
        clock: Callable[[], int] | None = None,
        ground: Ground | None = None,
    ) -> None:
        if model is not None and engine is not None:
            raise TypeError("give a node a model or an engine, not both")
        self.config = config or Config()
        self._given_model = model
        self._given_engine = engine
        self._clock = clock or (lambda: time.time_ns() // 1_000_000)
        self._ground = ground or Ground()
        self._running: AbstractAsyncContextManager[None] | None = None
        self._opened: Parts | None = None
        self._calibrating = trio.Lock()

    async def __aenter__(self) -> Self:
        """Open the node.

        :raises StoreError, ModelError, NetworkError, ConfigError: what is missing or in the way, in one line.
        """
        if self._running is not None:
            raise RuntimeError("a node is entered once; make another one")
        self._running = self._run()
        await self._running.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Close the node."""
        if self._running is None:
            raise RuntimeError("the node was not entered")
        return await self._running.__aexit__(kind, error, traceback)

    @property
    def _parts(self) -> Parts:
        if self._opened is None:
            raise RuntimeError("the node is not open; use it inside `async with espeer.Node(...) as node:`")
        return self._opened

    @property
    def _here(self) -> Here:
        if self._parts.here is None:
            raise InputError("this node is a client and holds no experiences; ask its server for this")
        return self._parts.here

    @asynccontextmanager
    async def _run(self) -> AsyncIterator[None]:
        async with running(
            self.config, model=self._given_model, engine=self._given_engine, clock=self._clock, ground=self._ground
        ) as parts:
            self.config = parts.config
            self._opened = parts
            log.info("node is up", peer_id=parts.identity.peer_id, addresses=self.addresses(), model=parts.engine.model.name)
            try:
                yield
            finally:
                self._opened = None

    # -- asking

    @asynccontextmanager
    async def stream(
        self,
        question: str | Sequence[Turn],
        *,
        recall: int | None = None,
        type: str | None = None,
        options: AskOptions = _USUAL,
    ) -> AsyncIterator[AnswerStream]:
        """Answer a question as it comes.

        ::

            async with node.stream("What does E42 mean?") as stream:
                async for piece in stream:
                    print(piece, end="")
                answer = await stream.answer()

        Leaving the block early stops the model. The parameters are those of :meth:`ask`.
        """
        asked = read(question)
        k = self.config.recall if recall is None else count(0, recall, "recall")
        parts = self._parts
        parts.recall.check(type)
        capture = self._capture if self.config.capture and options.capture else None
        async with parts.inference.stream(asked, recall=k, type=type, options=options, capture=capture) as stream:
            yield stream

    async def ask(
        self,
        question: str | Sequence[Turn],
        *,
        recall: int | None = None,
        type: str | None = None,
        options: AskOptions = _USUAL,
    ) -> Answer:
        """Answer a question with the experiences that fit it best, or plainly where none fits.

        :param question: a text, or a conversation that ends with it. Of one that does not fit the model's context the oldest
            turns are left out. Only the question itself is recalled for, and captured.
        :param recall: the most experiences to use; 0 for plain inference; None for the node's setting.
        :param type: use only experiences of this topic type. If only other nodes hold it, they are asked, and see the question.
        :param options: length, sampling and time of the answer.
        :raises InputError: the question is empty or too long.
        :raises PromptTooLong: it does not fit the model's context.
        :raises ModelTimeout: there was no piece of an answer in the time that it may take.
        :raises QueueFull: too many requests wait for the model.
        """
        async with self.stream(question, recall=recall, type=type, options=options) as stream:
            return await stream.answer()

    async def choose(
        self, question: str, choices: Sequence[str], *, recall: int | None = None, type: str | None = None
    ) -> Choice:
        """Pick one of several answers by the likelihood that the model gives them.

        Whether letters or texts are scored is measured once per model and kept; the first call with a model takes the
        seconds that this takes. The question is not captured as an interaction.
        """
        question = clean(question, limit=MAX_INPUT, what="the question")
        k = self.config.recall if recall is None else count(0, recall, "recall")
        self._parts.recall.check(type)
        if isinstance(choices, str) or not MIN_CHOICES <= len(choices) <= MAX_CHOICES:
            raise InputError(f"give {MIN_CHOICES} to {MAX_CHOICES} choices")
        choices = [clean(choice, limit=MAX_INPUT, what="a choice").replace("\n", " ") for choice in choices]
        method = (await self.calibrate()).method
        return await self._parts.inference.choose(question, choices, recall=k, type=type, method=method)

    async def calibrate(self) -> calibration.Calibration:
        """Measure how the model is best asked multiple choice, unless that was done before."""
        async with self._calibrating:
            return await calibration.known(self._parts.engine)

    async def recall(self, query: str, *, k: int = 5, type: str | None = None) -> list[Hit]:
        """Return the ``k`` experiences that fit a query best, best first.

        :param type: only of this topic type. If only other nodes hold it, they are asked.
        :raises NetworkError: nobody who holds any of them answers.
        """
        query = clean(query, limit=MAX_INPUT, what="the query")
        count(1, k, "k")
        self._parts.recall.check(type)
        found = await self._parts.recall.recall(query, k, type=type)
        if found.unreached and not found.searched:
            raise NetworkError(f"nobody who holds {', '.join(found.unreached)} answers; see `espeer peers`, and try again")
        return list(found.hits)

    # -- learning

    async def learn(self, text: str, *, response: str = "", feedback: str = "", type: str = "", wait: bool = False) -> Learnt:
        """Learn from something that happened. When this returns it is on disk; distilling and sharing follow.

        :param text: what was seen, asked or told.
        :param response: what was answered or tried.
        :param feedback: what came of it: this is what others profit from most.
        :param type: its topic type; by default the model decides.
        :param wait: close the episode at once and return when the experience is there.
        :raises InputError: a text is empty or too long, or the type is not held here.
        """
        self._check_held(type or None)
        interaction = Interaction(
            id=0,
            created=self._clock(),
            query=clean(text, limit=MAX_INPUT, what="the text"),
            response=clean(response, limit=MAX_INPUT, what="the response") if response else "",
            feedback=clean(feedback, limit=MAX_INPUT, what="the feedback") if feedback else "",
            type=type,
        )
        stored = await in_thread(lambda: self._parts.store.add_interaction(interaction, ready=True))
        await self._parts.learner.take(stored)
        if wait:
            await self.flush()
        return await self._learnt(stored.id)

    async def feedback(self, answer: int, text: str = "", *, good: bool | None = None) -> Learnt:
        """Say what became of an answer. A text is learnt from; so is a good answer that no experience had a part in.

        :param answer: :attr:`Answer.id`.
        :param text: what is right, or what happened.
        :param good: whether the answer was of use.
        :raises InputError: there is no such answer, or there is neither text nor rating.
        """
        if not text and good is None:
            raise InputError("give the feedback a text, or say whether the answer was good")
        text = clean(text, limit=MAX_INPUT, what="the feedback") if text else ""
        known, is_news = await in_thread(lambda: note_feedback(self._parts.store, answer, text, good=good))
        if is_news is None:  # too late for that episode: it is learnt from anew
            return await self.learn(known.query, feedback=text)
        if is_news:
            await self._parts.learner.take(known)
        return await self._learnt(answer)

    async def flush(self) -> None:
        """Close all episodes, and return when everything learnt so far is distilled and published.

        A node without ``config.learning`` leaves that to the next one on its folder, and returns at once.
        """
        if self.config.learning:
            await self._parts.learner.flush()

    # -- refining

    async def refine(self, *, type: str | None = None, scale: Scale | None = None, threshold: float | None = None) -> Outcome:
        """Refine the replica now: condense what is alike, and evict what there is no room for.

        :param type: only this topic type.
        :param scale, threshold: what is alike, in place of the node's settings; see :data:`espeer.scale.Scale`.
        """
        self._check_held(type)
        return await self._here.refiner.refine(type=type, scale=scale, threshold=threshold)

    async def preview_refinement(
        self, *, type: str | None = None, scale: Scale | None = None, threshold: float | None = None
    ) -> list[Proposal]:
        """Return the groups that :meth:`refine` would deal with first; nothing is changed."""
        self._check_held(type)
        return await self._here.refiner.preview(type=type, scale=scale, threshold=threshold)

    async def refinements(self, *, limit: int = 20) -> list[Run]:
        """Return the latest refinement runs, the latest first."""
        return await in_thread(lambda: self._here.refiner.runs.runs(limit=count(1, limit, "limit")))

    async def undo_refinement(self, run: int) -> Undone:
        """Take a refinement run back; what it dealt with is not refined again until that is asked for.

        :raises InputError: there is no such run, it was undone, or a later one builds on it.
        """
        return await self._here.refiner.undo(run)

    async def why(self, prefix: str) -> Why:
        """Tell where the one experience whose id begins with ``prefix`` stands, what it was made of, what stands for it."""
        return await in_thread(self._here.refiner.runs.why, prefix)

    # -- records

    async def retract(self, prefix: str) -> Retracted:
        """Take the one experience back whose id begins with ``prefix``: no node that hears of it recalls it any more.

        :raises InputError: another node learnt it, or it is a condensate, or was retracted already.
        """
        here, identity = self._here, self._parts.identity
        retraction = await in_thread(lambda: here.replica.retraction(prefix, author=identity.public))
        signed = records.sign(retraction, identity.sign)
        await in_thread(lambda: here.replica.add([signed], via="own"))
        self._parts.publish([signed])
        return Retracted(retraction.target.hex(), signed.id.hex())

    async def export(
        self, *, after: int = 0, limit: int = MAX_PAGE, type: str | None = None, own: bool = False, condensates: bool = False
    ) -> ExportPage:
        """Return a page of the records that the node has, in the order in which they came; not what was taken back.

        :param after: :attr:`ExportPage.next` of the page before.
        :param type: only this topic type.
        :param own: only what this node signed.
        :param condensates: with what refining made here, which is shared with nobody otherwise.
        """
        count(1, limit, "limit")
        if not 0 <= after <= MAX_ROW:
            raise InputError("after is the `next` of another page")
        author, replica = self._parts.identity.public if own else None, self._here.replica
        return await in_thread(
            lambda: replica.page(after, min(limit, MAX_PAGE), type=type, author=author, condensates=condensates)
        )

    async def import_lines(self, lines: Sequence[str], *, first: int = 1) -> Imported:
        """Take in lines of an export: each is verified as if it came from the network; the sound ones are kept, or none.

        Other nodes get them by sync.

        :param first: the number of the first line, for what is told of refused ones.
        :raises StoreFull: no room, or too many records; none was taken.
        """
        here, now_ms = self._here, self._clock()
        batch = await in_thread(lambda: read_batch(lines, first=first, types=here.replica.types, now_ms=now_ms))
        return batch.imported(await here.door.add(batch.records, via=IMPORTED) if batch.records else 0)

    async def back_up(self, to: Path) -> Backup:
        """Make a backup of the data folder, the private key among the rest, while the node goes on; see :mod:`espeer.backup`.

        :param to: the file, which must not be there yet; or a folder, in which it gets a name.
        """
        return await in_thread(lambda: back_up(self.config.data, to, clock=self._clock))

    # -- looking

    async def answer(self, number: int) -> GivenAnswer:
        """Tell of an answer that was given: what stood in its prompt, and what was learnt from it.

        :param number: :attr:`Answer.id`.
        :raises NotFound: there is none.
        """
        replica = self._parts.here.replica if self._parts.here else None
        return await in_thread(given, self._parts.store, replica, number)

    async def experiences(self, *, type: str | None = None, limit: int = 100) -> list[Held]:
        """Return the newest active experiences, newest first."""
        count(1, limit, "limit")
        self._check_held(type)
        return await in_thread(lambda: self._here.replica.experiences(type=type, limit=limit))

    async def experience(self, prefix: str) -> Held:
        """Return the one experience whose id (hexadecimal) begins with ``prefix``."""
        return await in_thread(self._here.replica.show, prefix)

    @property
    def events(self) -> Events:
        """What happens in the node, for those who watch it; see :mod:`espeer.events`."""
        return self._parts.events

    def peers(self) -> list[PeerView]:
        """Return the connected peers."""
        return self._parts.swarm.peers() if self._parts.swarm else []

    def addresses(self) -> list[str]:
        """Return the addresses that other nodes can ``--bootstrap`` with."""
        return self._parts.swarm.addresses() if self._parts.swarm else []

    async def relayed(self) -> list[str]:
        """Wait until other nodes reach this one through a relay; return the addresses for their ``--bootstrap``."""
        return await self._parts.swarm.relayed() if self._parts.swarm else []

    @property
    def model(self) -> str:
        """The name of the node's model."""
        return self._parts.engine.model.name

    @property
    def identity(self) -> Identity:
        """Return the node's identity."""
        return self._parts.identity

    def invite(self) -> str:
        """Return a ticket by which another node joins the network: ``Config(join=...)``. Of a private network it is a secret.

        :raises InputError: the node is offline.
        """
        return looking.invitation(self.config, self.addresses())

    async def status(self) -> Status:
        """Return how the node is doing."""
        return await looking.status(self._parts)

    async def _capture(self, question: str, response: str, used: Sequence[Hit]) -> int:
        """Store an answered question; it is learnt from only when feedback comes."""
        interaction = Interaction(0, self._clock(), question, response, source="answer")
        ids = [bytes.fromhex(hit.id) for hit in used]
        stored = await in_thread(lambda: self._parts.store.add_interaction(interaction, ready=False, used=ids))
        self._parts.warming.wake()
        return stored.id

    def _check_held(self, type: str | None) -> None:
        if type is not None and type not in self.config.types:
            raise InputError(f"this node does not hold the type {type!r}; it holds {', '.join(self.config.types)}")

    async def _learnt(self, interaction: int) -> Learnt:
        record = await in_thread(self._parts.store.experience_of, interaction)
        return Learnt(interaction, record.hex() if record else None)
