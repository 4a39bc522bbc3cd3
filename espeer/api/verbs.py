"""What can be asked of a node from outside: each verb once, for the control socket and for HTTP alike.

A verb is a model of its parameters, which checks their types; what they may hold the node checks.
"""

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from espeer.api import views
from espeer.asking import AskOptions
from espeer.node import Node
from espeer.scale import Scale

Say = Callable[[str], Awaitable[None]]
"""Is told each piece of an answer as it comes."""


_COMPLAINTS: Final = 4
"""A list of a thousand wrong items is not complained about a thousand times."""


async def _nobody(_: str) -> None:
    """Drop a piece: the whole answer will do."""


def complaint(error: ValidationError) -> str:
    """Say in one line what is wrong with parameters."""
    return "; ".join(
        f"{'.'.join(map(str, found['loc'])) or 'the parameters'}: {found['msg'][:1].lower()}{found['msg'][1:]}"
        for found in error.errors(include_url=False, include_context=False, include_input=False)[:_COMPLAINTS]
    )


class Verb(BaseModel):
    """Something that a node can be asked to do.

    :cvar name: its name in the control protocol.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: ClassVar[str]

    async def do(self, node: Node) -> Any:
        """Have the node do it; return the JSON form of what comes of it."""
        raise NotImplementedError


class Ask(Verb):
    """Answer a question; see :meth:`espeer.Node.ask`."""

    name = "ask"

    question: str
    recall: int | None = None
    type: str | None = None
    max_tokens: int | None = None
    temperature: float = 0.0
    seed: int | None = None
    stop: list[str] | None = None
    timeout: float | None = None

    async def do(self, node: Node, say: Say = _nobody) -> Any:
        """Answer, piece by piece."""
        options = AskOptions(
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            seed=self.seed,
            stop=tuple(self.stop or ()),
            timeout=self.timeout,
        )
        async with node.stream(self.question, recall=self.recall, type=self.type, options=options) as stream:
            async for piece in stream:
                await say(piece)
            return views.answer(await stream.answer())


class Choose(Verb):
    """Pick one of several answers; see :meth:`espeer.Node.choose`."""

    name = "choose"

    question: str
    choices: list[str]
    recall: int | None = None
    type: str | None = None

    async def do(self, node: Node) -> Any:
        """Choose."""
        return views.choice(await node.choose(self.question, self.choices, recall=self.recall, type=self.type))


class Learn(Verb):
    """Learn from something that happened; see :meth:`espeer.Node.learn`."""

    name = "learn"

    text: str
    response: str = ""
    feedback: str = ""
    type: str = ""
    wait: bool = False

    async def do(self, node: Node) -> Any:
        """Learn."""
        learnt = await node.learn(self.text, response=self.response, feedback=self.feedback, type=self.type, wait=self.wait)
        return views.learnt(learnt)


class Feedback(Verb):
    """Say what became of an answer; see :meth:`espeer.Node.feedback`."""

    name = "feedback"

    answer: int
    text: str = ""
    good: bool | None = None

    async def do(self, node: Node) -> Any:
        """Take the feedback."""
        return views.learnt(await node.feedback(self.answer, self.text, good=self.good))


class Recall(Verb):
    """Find the experiences that fit a query best; see :meth:`espeer.Node.recall`."""

    name = "recall"

    query: str
    k: int = 5
    type: str | None = None

    async def do(self, node: Node) -> Any:
        """Recall."""
        return [views.hit(found) for found in await node.recall(self.query, k=self.k, type=self.type)]


class Flush(Verb):
    """Distil and publish everything learnt so far; see :meth:`espeer.Node.flush`."""

    name = "flush"

    async def do(self, node: Node) -> Any:
        """Flush."""
        await node.flush()


class Peers(Verb):
    """List the connected peers."""

    name = "peers"

    async def do(self, node: Node) -> Any:
        """List them."""
        return [views.peer(peer) for peer in node.peers()]


class Experiences(Verb):
    """List the newest active experiences."""

    name = "experiences"

    type: str | None = None
    limit: int = 100

    async def do(self, node: Node) -> Any:
        """List them."""
        return [views.held(held) for held in await node.experiences(type=self.type, limit=self.limit)]


class Experience(Verb):
    """Show the one experience whose id begins so."""

    name = "experience"

    id: str

    async def do(self, node: Node) -> Any:
        """Show it."""
        return views.held(await node.experience(self.id))


class _Measure(Verb):
    """What is alike: parameters of refining."""

    type: str | None = None
    scale: Scale | None = None
    threshold: float | None = None


class Refine(_Measure):
    """Refine the replica now; see :meth:`espeer.Node.refine`."""

    name = "refine"

    async def do(self, node: Node) -> Any:
        """Refine."""
        return views.outcome(await node.refine(type=self.type, scale=self.scale, threshold=self.threshold))


class PreviewRefinement(_Measure):
    """Show what refining would do."""

    name = "preview_refinement"

    async def do(self, node: Node) -> Any:
        """Look, and change nothing."""
        proposals = await node.preview_refinement(type=self.type, scale=self.scale, threshold=self.threshold)
        return [views.proposal(proposal) for proposal in proposals]


class Refinements(Verb):
    """List the latest refinement runs."""

    name = "refinements"

    limit: int = 20

    async def do(self, node: Node) -> Any:
        """List them."""
        return [views.run(run) for run in await node.refinements(limit=self.limit)]


class UndoRefinement(Verb):
    """Take a refinement run back."""

    name = "undo_refinement"

    run: int

    async def do(self, node: Node) -> Any:
        """Undo it."""
        return views.undone(await node.undo_refinement(self.run))


class Why(Verb):
    """Tell where an experience stands, and what it was made of."""

    name = "why"

    id: str

    async def do(self, node: Node) -> Any:
        """Tell."""
        return views.why(await node.why(self.id))


class Invite(Verb):
    """Make a ticket for another node."""

    name = "invite"

    async def do(self, node: Node) -> Any:
        """Make it."""
        return views.invitation(node.invite())


class Status(Verb):
    """Tell how the node is doing."""

    name = "status"

    async def do(self, node: Node) -> Any:
        """Tell."""
        return views.status(await node.status())


VERBS: Final[dict[str, type[Verb]]] = {
    verb.name: verb
    for verb in (
        Ask,
        Choose,
        Learn,
        Feedback,
        Recall,
        Flush,
        Peers,
        Experiences,
        Experience,
        Refine,
        PreviewRefinement,
        Refinements,
        UndoRefinement,
        Why,
        Invite,
        Status,
    )
}
