"""A model that is asked questions and told what is right: what the experiments with questions have in common."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypedDict, get_args

from espeer import records
from espeer.inference import Inference
from espeer.interaction import Interaction
from espeer.lifecycle.choice import Method
from espeer.lifecycle.distil import distil
from espeer.lifecycle.essence import sentences, stems
from espeer.llm.engine import Engine
from espeer.p2p.identity import SEED_SIZE, Identity
from espeer.recall import Recall
from espeer.records import MAX_TEXT, Experience
from espeer.replica import Replica
from espeer.sim.experiments.questions import Item
from espeer.sim.experiments.work import Work
from espeer.store import Store
from espeer.tokens import Tokenizer

TYPE: Final = "topic"
_CREATED: Final = 1_700_000_000_000
"""Records are made at the same moment always: their ids are the same in every run, and equal scores come in the same order."""


class Found(TypedDict):
    """How a question was answered: the choice's index, its share of the probability, how many texts were shown, the time."""

    index: int
    confidence: float
    recalled: int
    ms: float


class Told(TypedDict):
    """What came of a question that was answered without help and told right or wrong.

    ``memory`` is the raw interaction, ``experience`` what was distilled from it, ``method`` how
    (:data:`espeer.records.METHODS`).
    """

    memory: str
    experience: str
    method: str


@dataclass(frozen=True, slots=True)
class Pupil:
    """A model that is asked and told. Each question is asked, and learnt from, once; see :class:`Work`.

    :ivar method: how it is asked.
    :ivar support: tell it the sentence of what is known about a question that is most to the point, not the answer alone.
    """

    engine: Engine
    work: Work
    method: Method
    support: bool

    @classmethod
    async def of(cls, engine: Engine, work: Work, items: Sequence[Item], *, support: bool) -> "Pupil":
        """Find out how a model is best asked, once: by letter or by text, on questions that are not in the tests.

        :param items: the questions; of equals by text, which does not depend on the order of the choices.
        """

        async def measure() -> Method:
            right = {}
            for method in get_args(Method):
                one = cls(engine, work, method, support)
                found = await work.each(f"ask by {method}", items, partial(one._choose, recall=_NOTHING, k=0))
                right[method] = sum(answer["index"] == item.answer for answer, item in zip(found, items, strict=True))
            return "letter" if right["letter"] > right["text"] else "text"

        return cls(engine, work, await work.once("method", measure), support)

    async def alone(self, item: Item) -> Found:
        """Ask without help."""
        return await self.ask(f"ask plain {item.id}", item, _NOTHING, k=0)

    async def ask(self, key: str, item: Item, recall: Recall, *, k: int) -> Found:
        """Ask with what is recalled.

        :param key: names the question and all that what is recalled depends on.
        """
        found: Found = await self.work.once(key, partial(self._choose, item, recall=recall, k=k))
        return found

    async def learn(self, item: Item) -> Told:
        """Answer a question without help, be told what is right, and distil that."""

        async def make() -> Told:
            said = item.choices[(await self.alone(item))["index"]]
            distilled = await distil(self.engine, [interaction(item, said, support=self.support)])
            return {
                "memory": memory(item, said, support=self.support),
                "experience": distilled.text,
                "method": distilled.method,
            }

        told: Told = await self.work.once(f"learn {item.id}", make)
        return told

    async def _choose(self, item: Item, *, recall: Recall, k: int) -> Found:
        inference = Inference(self.engine, recall, answer_tokens=1, answer_seconds=None)
        choice = await inference.choose(item.question, item.choices, recall=k, type=None, method=self.method)
        return {
            "index": choice.index,
            "confidence": round(choice.confidence, 4),
            "recalled": len(choice.experiences),
            "ms": round(choice.elapsed_ms, 1),
        }


def memory(item: Item, said: str, *, support: bool) -> str:
    """Return a raw interaction: the question, what was said, what it was told. Cut to what a record may hold.

    It is told what is distilled, no more and no less, or the two could not be compared.
    """
    verdict = "Right" if said == item.right else f"Wrong: the right answer is {item.right!r}"
    text = f"Question: {item.question} Answer: {said} Outcome: {verdict}. {to_the_point(item) if support else ''}".strip()
    return text.encode()[:MAX_TEXT].decode(errors="ignore")


def interaction(item: Item, said: str, *, support: bool) -> Interaction:
    """Return what is distilled: the question, and as what came of it the right answer and the sentence most to the point.

    What was said is left out where it was wrong: the lesson is what is right, and small models take the one for the other.
    """
    known = to_the_point(item) if support else ""
    told = f"{item.right}. {known}" if known else item.right
    return Interaction(1, _CREATED, item.question, said if said == item.right else "", told, "user", TYPE)


def to_the_point(item: Item) -> str:
    """Return the sentence of what is known about a question that has most words in common with it and its answer.

    A whole passage cannot be told in one sentence: the check would refuse whatever a model makes of it.
    """
    about = stems(f"{item.question} {item.right}")
    return max(sentences(item.support), key=lambda sentence: len(about & stems(sentence)), default="")


@contextmanager
def recalling(texts: Sequence[str], model: str) -> Iterator[Recall]:
    """Recall from texts, as a node that holds them would.

    :param model: who is said to have distilled them.
    """
    with closing(Store.open(Path(":memory:"))) as store:
        yield recall_from(replica_of(store, texts, model))


def recall_from(replica: Replica | None) -> Recall:
    """Recall from a replica alone."""
    return Recall(replica, None, types=(TYPE,), terms=Tokenizer(), seconds=1, ask_peers=False)


_NOTHING: Final = recall_from(None)


def replica_of(store: Store, texts: Sequence[str], model: str) -> Replica:
    """Put texts into a replica, as a node would hold them. Equal ones are one record."""
    replica = Replica(store, types=(TYPE,), clock=lambda: _CREATED)
    identity = Identity(bytes(SEED_SIZE))
    signed = [
        records.sign(Experience(TYPE, text, _CREATED, identity.public, model, "distilled"), identity.sign)
        for text in dict.fromkeys(texts)
    ]
    replica.add(signed, via="own")
    return replica
