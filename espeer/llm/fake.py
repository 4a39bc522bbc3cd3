"""A model without weights, for the tests of programs that embed espeer, and for simulations.

It knows nothing and understands nothing, but it can quote: with the recalled experience in its prompt it answers with the
sentence that fits the question, and without it it cannot. So a whole node works with it, at once and always the same way.
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from espeer.errors import ModelError, PromptTooLong
from espeer.llm.model import Checkpoint, Prompt, Sampling, Score
from espeer.llm.stream import TextStream

UNKNOWN: Final = "I do not know."
"""The answer when no sentence of the prompt has a word in common with the question."""

_WORD: Final = re.compile(r"\w+")
_SENTENCE: Final = re.compile(r"[^.!?\n]+[.!?]*")
_ALTERNATIVES: Final = re.compile(r'\s*root\s*::=\s*"(?:[^"\\]|\\.)*"(?:\s*\|\s*"(?:[^"\\]|\\.)*")*\s*')
_LITERAL: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_SHORT: Final = 3  # words up to this length say little about what a text is about
_SEEN, _UNSEEN = math.log(0.5), math.log(0.01)


class FakeModel:
    """A :class:`espeer.llm.model.Model` that quotes its prompt.

    - ``generate`` with a grammar of plain alternatives (``root ::= "a" | "b"``) gives the one that has most words in common
      with the last user message; of equals, the first.
    - ``generate`` without a grammar gives the sentence of the prompt that has most words of more than three letters in common
      with the last line of the last user message, and is not from that line; of equals, the first. If none has any: UNKNOWN.
    - ``score`` gives a word that stands in the prompt a probability of 0.5, any other 0.01.
    - A token is a word.

    :param replies: answers in place of the above.
    :param context: the most words that a prompt and its answer may have.
    """

    def __init__(
        self, replies: Callable[[Prompt, Sampling], str] | None = None, *, context: int = 2048, name: str = "fake"
    ) -> None:
        self.name: Final = name
        self.context: Final = context
        self.digest: Final = hashlib.sha256(name.encode()).hexdigest()
        self._replies = replies or quote
        self._closed = False

    def count(self, text: str) -> int:
        """Number of words."""
        return len(text.split())

    def size(self, prompt: Prompt) -> int:
        """Number of words of the messages and the opening."""
        return sum(self.count(message.content) for message in prompt.messages) + self.count(prompt.opening)

    def generate(self, prompt: Prompt, sampling: Sampling, checkpoint: Checkpoint) -> Iterator[str]:
        """Yield the answer word by word.

        :raises PromptTooLong: the prompt and ``max_tokens`` do not fit the context.
        :raises ModelError: the grammar is not one of plain alternatives, or the model is closed.
        """
        self._check(self.size(prompt) + sampling.max_tokens)
        text = TextStream(sampling.stop)
        words = re.findall(r"\s*\S+", self._replies(prompt, sampling))
        for word in words[: sampling.max_tokens]:
            checkpoint()
            if piece := text.feed(word.encode()):
                yield piece
            if text.stopped:
                return
        if piece := text.finish():
            yield piece

    def score(self, prompt: Prompt, continuations: Sequence[str], checkpoint: Checkpoint) -> list[Score]:
        """More likely the more of its words stand in the prompt.

        :raises PromptTooLong: the prompt and the longest continuation do not fit the context.
        """
        self._check(self.size(prompt) + max(map(self.count, continuations), default=0))
        known = _words("\n".join(message.content for message in prompt.messages))
        scores = []
        for continuation in continuations:
            checkpoint()
            words = _WORD.findall(continuation.lower())
            scores.append(Score(sum(_SEEN if word in known else _UNSEEN for word in words), len(words)))
        return scores

    def close(self) -> None:
        """From now on every request raises ModelError."""
        self._closed = True

    def _check(self, size: int) -> None:
        if self._closed:
            raise ModelError(f"the model {self.name} is closed; make it again")
        if size > self.context:
            raise PromptTooLong(f"the prompt and its answer may have {size} tokens, but the context is {self.context}")


def quote(prompt: Prompt, sampling: Sampling) -> str:
    """The reply that :class:`FakeModel` gives by itself.

    :raises ModelError: the grammar is not one of plain alternatives.
    """
    message = next((message.content for message in reversed(prompt.messages) if message.role == "user"), "")
    if sampling.grammar is not None:
        if _ALTERNATIVES.fullmatch(sampling.grammar) is None:
            raise ModelError('the fake model only knows grammars of the form: root ::= "one" | "other"')
        words = _words(message)
        choices = [re.sub(r"\\(.)", r"\1", literal) for literal in _LITERAL.findall(sampling.grammar)]
        return max(choices, key=lambda choice: len(_words(choice) & words))
    before, _, question = message.strip().rpartition("\n")
    texts = [turn.content for turn in prompt.messages if turn.role != "assistant" and turn.content != message] + [before]
    subject = _long_words(question)
    sentences = [sentence.strip() for text in texts for sentence in _SENTENCE.findall(text) if sentence.strip()]
    best = max(sentences, key=lambda sentence: len(_long_words(sentence) & subject), default="")
    return best if _long_words(best) & subject else UNKNOWN


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.lower()))


def _long_words(text: str) -> set[str]:
    return {word for word in _words(text) if len(word) > _SHORT}
