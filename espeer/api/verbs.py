"""What can be asked of a node from outside: each verb once, for the control socket and for HTTP alike.

A verb is a model of its parameters, which checks their types; what they may hold the node checks, and
:mod:`espeer.api.parameters` tells.
"""

from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field

from espeer.api import forms, parameters, views
from espeer.asking import AskOptions
from espeer.node import Node
from espeer.scale import Scale

Say = Callable[[str], Awaitable[None]]
"""Is told each piece of an answer as it comes."""


async def _nobody(_: str) -> None:
    """Drop a piece: the whole answer will do."""


class Verb(BaseModel):
    """Something that a node can be asked to do.

    :cvar name: its name in the control protocol.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: ClassVar[str]

    @abstractmethod
    async def do(self, node: Node) -> Any:
        """Have the node do it; return the JSON form of what comes of it."""


class Ask(Verb):
    """Answer a question; see :meth:`espeer.Node.ask`."""

    name = "ask"

    question: parameters.Question
    recall: parameters.MostUsed | None = None
    type: parameters.TypeName | None = None
    max_tokens: parameters.MaxTokens | None = None
    temperature: parameters.Temperature = 0.0
    seed: parameters.Seed | None = None
    stop: parameters.Stops | None = None
    timeout: parameters.Seconds | None = None
    capture: parameters.Capture = True

    async def do(self, node: Node, say: Say = _nobody) -> forms.Answer:
        """Answer, piece by piece."""
        options = AskOptions(
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            seed=self.seed,
            stop=tuple(self.stop or ()),
            timeout=self.timeout,
            capture=self.capture,
        )
        async with node.stream(self.question, recall=self.recall, type=self.type, options=options) as stream:
            async for piece in stream:
                await say(piece)
            return views.answer(await stream.answer())


class Choose(Verb):
    """Pick one of several answers; see :meth:`espeer.Node.choose`."""

    name = "choose"

    question: parameters.Question
    choices: parameters.Choices
    recall: parameters.MostUsed | None = None
    type: parameters.TypeName | None = None

    async def do(self, node: Node) -> forms.Choice:
        """Choose."""
        return views.choice(await node.choose(self.question, self.choices, recall=self.recall, type=self.type))


class Learn(Verb):
    """Learn from something that happened; see :meth:`espeer.Node.learn`."""

    name = "learn"

    text: parameters.Report
    response: parameters.Response = ""
    feedback: parameters.Outcome = ""
    type: parameters.TypeNameOrNone = ""
    wait: bool = Field(default=False, description="Close the episode at once, and answer when the experience is there.")

    async def do(self, node: Node) -> forms.Learnt:
        """Learn."""
        learnt = await node.learn(self.text, response=self.response, feedback=self.feedback, type=self.type, wait=self.wait)
        return views.learnt(learnt)


class Feedback(Verb):
    """Say what became of an answer; see :meth:`espeer.Node.feedback`."""

    name = "feedback"

    answer: parameters.Number
    text: parameters.Outcome = ""
    good: bool | None = Field(default=None, description="Whether the answer was of use.")

    async def do(self, node: Node) -> forms.Learnt:
        """Take the feedback."""
        return views.learnt(await node.feedback(self.answer, self.text, good=self.good))


class Recall(Verb):
    """Find the experiences that fit a query best; see :meth:`espeer.Node.recall`."""

    name = "recall"

    query: parameters.Query
    k: parameters.Limit = 5
    type: parameters.TypeName | None = None

    async def do(self, node: Node) -> list[forms.Hit]:
        """Recall."""
        return [views.hit(found) for found in await node.recall(self.query, k=self.k, type=self.type)]


class Flush(Verb):
    """Distil and publish everything learnt so far; see :meth:`espeer.Node.flush`."""

    name = "flush"

    async def do(self, node: Node) -> None:
        """Flush."""
        await node.flush()


class Peers(Verb):
    """List the connected peers."""

    name = "peers"

    async def do(self, node: Node) -> list[forms.Peer]:
        """List them."""
        return [views.peer(peer) for peer in node.peers()]


class Experiences(Verb):
    """List the newest active experiences."""

    name = "experiences"

    type: parameters.TypeName | None = None
    limit: parameters.Limit = 100

    async def do(self, node: Node) -> list[forms.Held]:
        """List them."""
        return [views.held(held) for held in await node.experiences(type=self.type, limit=self.limit)]


class Experience(Verb):
    """Show the one experience whose id begins so."""

    name = "experience"

    id: parameters.IdPrefix

    async def do(self, node: Node) -> forms.Held:
        """Show it."""
        return views.held(await node.experience(self.id))


class _Measure(Verb):
    """What is alike: parameters of refining."""

    type: parameters.TypeName | None = None
    scale: Scale | None = Field(default=None, description="The scale of the threshold; null for as the node is set.")
    threshold: parameters.Threshold | None = None


class Refine(_Measure):
    """Refine the replica now; see :meth:`espeer.Node.refine`."""

    name = "refine"

    async def do(self, node: Node) -> forms.Outcome:
        """Refine."""
        return views.outcome(await node.refine(type=self.type, scale=self.scale, threshold=self.threshold))


class PreviewRefinement(_Measure):
    """Show what refining would do."""

    name = "preview_refinement"

    async def do(self, node: Node) -> list[forms.Proposal]:
        """Look, and change nothing."""
        proposals = await node.preview_refinement(type=self.type, scale=self.scale, threshold=self.threshold)
        return [views.proposal(proposal) for proposal in proposals]


class Refinements(Verb):
    """List the latest refinement runs."""

    name = "refinements"

    limit: parameters.Limit = 20

    async def do(self, node: Node) -> list[forms.Run]:
        """List them."""
        return [views.run(run) for run in await node.refinements(limit=self.limit)]


class UndoRefinement(Verb):
    """Take a refinement run back."""

    name = "undo_refinement"

    run: parameters.Number

    async def do(self, node: Node) -> forms.Undone:
        """Undo it."""
        return views.undone(await node.undo_refinement(self.run))


class Why(Verb):
    """Tell where an experience stands, and what it was made of."""

    name = "why"

    id: parameters.IdPrefix

    async def do(self, node: Node) -> forms.Standing:
        """Tell."""
        return views.why(await node.why(self.id))


class Answer(Verb):
    """Tell of an answer that was given; see :meth:`espeer.Node.answer`."""

    name = "answer"

    answer: parameters.Number

    async def do(self, node: Node) -> forms.Given:
        """Tell."""
        return views.given(await node.answer(self.answer))


class Retract(Verb):
    """Take an experience of the node's own back; see :meth:`espeer.Node.retract`."""

    name = "retract"

    id: parameters.IdPrefix

    async def do(self, node: Node) -> forms.Retracted:
        """Retract it."""
        return views.retracted(await node.retract(self.id))


class Export(Verb):
    """Give a page of the node's records; see :meth:`espeer.Node.export`."""

    name = "export"

    after: parameters.After = 0
    type: parameters.TypeName | None = None
    own: parameters.OwnAlone = False
    condensates: parameters.WithCondensates = False

    async def do(self, node: Node) -> forms.Page:
        """Give it."""
        found = await node.export(after=self.after, type=self.type, own=self.own, condensates=self.condensates)
        return views.page(found)


class Import(Verb):
    """Take in lines of an export; see :meth:`espeer.Node.import_lines`."""

    name = "import"

    lines: parameters.Lines
    first: parameters.FirstLine = 1

    async def do(self, node: Node) -> forms.Imported:
        """Take them in."""
        return views.imported(await node.import_lines(self.lines, first=self.first))


class Invite(Verb):
    """Make a ticket for another node."""

    name = "invite"

    async def do(self, node: Node) -> forms.Invitation:
        """Make it."""
        return views.invitation(node.invite())


class Status(Verb):
    """Tell how the node is doing."""

    name = "status"

    async def do(self, node: Node) -> forms.Status:
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
        Answer,
        Retract,
        Export,
        Import,
        Invite,
        Status,
    )
}
