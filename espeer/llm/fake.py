"""A model without weights, for the tests of programs that embed espeer, and for simulations.

It knows nothing and understands nothing, but it can quote: with the recalled experience in its prompt it answers with the
sentence that fits the question, and without it it cannot. So a whole node works with it, at once and always the same way.
"""

import hashlib
import math
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from espeer.errors import ModelError, PromptTooLong
from espeer.llm.embedding import Embedder
from espeer.llm.model import Finish, Prompt, Run, Sampling, Score, source_of
from espeer.llm.stream import TextStream

UNKNOWN: Final = "I do not know."
"""The answer when no sentence of the prompt has a word in common with the question."""

_WORD: Final = re.compile(r"\w+")
_SENTENCE: Final = re.compile(r"[^.!?\n]+[.!?]*")
_ALTERNATIVES: Final = re.compile(
    r"\s*(?:root ::= word .*\nmore ::= .*\n(?P<word>word)|root)\s*::=\s*"
    r'(?P<texts>"(?:[^"\\]|\\.)*"(?:\s*\|\s*"(?:[^"\\]|\\.)*")*)\s*'
)
_LITERAL: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_SHORT: Final = 3  # words up to this length say little about what a text is about
_SEEN, _UNSEEN = math.log(0.5), math.log(0.01)


class FakeModel:
    """A :class:`espeer.llm.model.Model` that quotes its prompt, or says what you have it say.

    ::

        model = FakeModel(lambda prompt, sampling: "Clean the filter.")
        async with espeer.Node(config, model=model) as node:
            ...

    - A token is a word. Each step brings each run on by one: a word of an answer, or a continuation to score.
    - ``generate`` gives what ``replies`` returns, which is asked in the first step; what that raises, the caller gets.
    - Without ``replies``, ``generate`` with a grammar of plain alternatives (``root ::= "a" | "b"``) gives the one that has
      most words in common with the last user message; of equals, the first. With a grammar of
      :func:`espeer.llm.grammar.in_words` it gives the last of the words: it can make no sentence of them.
    - Without a grammar too, it gives the sentence of the prompt that has most words of more than three letters in common with
      the last line of the last user message, and is not from that line; of equals, the first. If none has any: UNKNOWN.
    - ``score`` gives a word that stands in the prompt a probability of 0.5, any other 0.01.
    - ``warm`` takes a step and is remembered; nothing gets faster by it. ``statistics()["warmed"]`` says how often it was done.

    :param replies: answers in place of the above.
    :param context: the most words that a prompt and its answer may have.
    :param width: the most runs that a step brings on.
    """

    def __init__(
        self,
        replies: Callable[[Prompt, Sampling], str] | None = None,
        *,
        context: int = 2048,
        name: str = "fake",
        width: int = 4,
    ) -> None:
        self.name: Final = name
        self.context: Final = context
        self.width: Final = width
        self.digest: Final = hashlib.sha256(name.encode()).hexdigest()
        self._replies = replies or quote
        self._warm: set[tuple[Prompt, int]] = set()
        self._closed = False

    def count(self, text: str) -> int:
        """Number of words."""
        return len(text.split())

    def size(self, prompt: Prompt) -> int:
        """Number of words of the messages and the opening."""
        return sum(self.count(message.text) for message in prompt.messages) + self.count(prompt.opening)

    def generate(self, prompt: Prompt, sampling: Sampling) -> Run:
        """Begin an answer, which comes word by word.

        :raises PromptTooLong: the prompt and ``max_tokens`` do not fit the context.
        :raises ModelError: the model is closed.
        """
        self._check(self.size(prompt) + sampling.max_tokens)
        return _Run(lambda run: self._answer(run, prompt, sampling))

    def score(self, prompt: Prompt, continuations: Sequence[str]) -> Run:
        """Begin to score: a continuation is likelier the more of its words stand in the prompt.

        :raises PromptTooLong: the prompt and the longest continuation do not fit the context.
        :raises ModelError: the model is closed.
        """
        self._check(self.size(prompt) + max(map(self.count, continuations), default=0))
        return _Run(lambda run: _score(run, prompt, continuations))

    def warm(self, prompt: Prompt, ranks: int) -> Run:
        """Begin to remember that the prompt was warmed.

        :raises ModelError: the model is closed.
        """
        self._check(0)
        return _Run(lambda _: self._remember(prompt, ranks))

    def is_warm(self, prompt: Prompt, ranks: int) -> bool:
        """Whether this was warmed before."""
        return (prompt, ranks) in self._warm

    def forget(self, notes: Collection[str]) -> None:
        """Forget what was warmed of these."""
        self._warm = {
            (prompt, ranks)
            for prompt, ranks in self._warm
            if not any(source_of(note.id) in notes for message in prompt.messages for note in message.notes)
        }

    def step(self, runs: Sequence[Run]) -> None:
        """Bring the first ``width`` runs on by a word, or a continuation."""
        for run in runs[: self.width]:
            if not isinstance(run, _Run):
                raise TypeError(f"{run!r} is not a run of this model")
            run.go_on()

    def embedder(self) -> Embedder:
        """Give vectors in which each word counts at places of its own: texts with the same words are near each other."""
        return _WordVectors()

    def interrupt(self) -> None:
        """Do nothing: no step takes long enough."""

    def statistics(self) -> dict[str, Any]:
        """How many prompts were warmed."""
        return {"warmed": len(self._warm)}

    def close(self) -> None:
        """From now on every request raises ModelError."""
        self._closed = True

    def _check(self, size: int) -> None:
        if self._closed:
            raise ModelError(f"the model {self.name} is closed; make it again")
        if size > self.context:
            raise PromptTooLong(f"the prompt and its answer may have {size} tokens, but the context is {self.context}")

    def _answer(self, run: "_Run", prompt: Prompt, sampling: Sampling) -> Iterator[None]:
        text = TextStream(sampling.stop)
        words = re.findall(r"\s*\S+", self._replies(prompt, sampling))
        for number, word in enumerate(words[: sampling.max_tokens]):
            if number:
                yield
            run.text += text.feed(word.encode())
            if text.stopped:
                break
        run.text += text.finish()
        run.finish = "stop" if text.stopped or len(words) <= sampling.max_tokens else "length"

    def _remember(self, prompt: Prompt, ranks: int) -> Iterator[None]:
        self._warm.add((prompt, ranks))
        yield from ()


class _WordVectors:
    """Vectors of words' hashes."""

    size: Final = 64

    def embed(self, text: str) -> NDArray[np.float32]:
        vector = np.full(self.size, 1e-3, np.float32)  # a text without words has a direction, too
        for word in _WORD.findall(text.lower()):
            vector[[byte % self.size for byte in hashlib.sha256(word.encode()).digest()[:4]]] += 1
        return vector / np.linalg.norm(vector)

    def close(self) -> None:
        """Hold nothing that had to be given back."""


class _Run:
    """What there is to do, a step between one ``yield`` and the next."""

    def __init__(self, work: "Callable[[_Run], Iterator[None]]") -> None:
        self._work = work(self)
        self.done = False
        self.error: Exception | None = None
        self.finish: Finish | None = None
        self.scores: list[Score] = []
        self.text = ""

    def go_on(self) -> None:
        try:
            next(self._work)
        except StopIteration:
            self.done = True
        except Exception as error:  # noqa: BLE001 - it is that of the test, or the program, that gave the replies
            self.done, self.error = True, error

    def take(self) -> str:
        text, self.text = self.text, ""
        return text

    def close(self) -> None:
        self.done = True
        self._work = iter(())


def _score(run: _Run, prompt: Prompt, continuations: Sequence[str]) -> Iterator[None]:
    known = _words("\n".join(message.text for message in prompt.messages))
    for number, continuation in enumerate(continuations):
        if number:
            yield
        words = _WORD.findall(continuation.lower())
        run.scores.append(Score(sum(_SEEN if word in known else _UNSEEN for word in words), len(words)))


def quote(prompt: Prompt, sampling: Sampling) -> str:
    """The reply that :class:`FakeModel` gives by itself.

    :raises ModelError: the grammar is not one of plain alternatives.
    """
    message = next((message.text for message in reversed(prompt.messages) if message.role == "user"), "")
    if sampling.grammar is not None:
        if (alternatives := _ALTERNATIVES.fullmatch(sampling.grammar)) is None:
            raise ModelError('the fake model only knows grammars of the form: root ::= "one" | "other"')
        words = _words(message)
        choices = [re.sub(r"\\(.)", r"\1", literal) for literal in _LITERAL.findall(alternatives["texts"])]
        if alternatives["word"]:
            return choices[-1]
        return max(choices, key=lambda choice: len(_words(choice) & words))
    before, _, question = message.strip().rpartition("\n")
    texts = [turn.text for turn in prompt.messages if turn.role != "assistant" and turn.text != message] + [before]
    subject = _long_words(question)
    sentences = [sentence.strip() for text in texts for sentence in _SENTENCE.findall(text) if sentence.strip()]
    best = max(sentences, key=lambda sentence: len(_long_words(sentence) & subject), default="")
    return best if _long_words(best) & subject else UNKNOWN


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.lower()))


def _long_words(text: str) -> set[str]:
    return {word for word in _words(text) if len(word) > _SHORT}
