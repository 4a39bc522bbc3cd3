"""Classification: which of the node's topic types a text is of (paper section 3)."""

from collections.abc import Sequence
from typing import Final

from espeer.errors import PromptTooLong
from espeer.lifecycle import prompts
from espeer.llm.engine import Engine, Priority
from espeer.llm.model import Sampling
from espeer.replica import Hit

_BEGINNING: Final = 300
"""So many characters tell the topic."""
_TYPE_TOKENS: Final = 40
"""Enough for the longest name of a type, whatever the tokenizer makes of it."""


async def classify(engine: Engine, text: str, types: Sequence[str], *, priority: Priority = Priority.DISTIL) -> str:
    """Ask the model; a grammar lets it answer nothing but one of ``types``. A single type needs no model.

    Where the context is too small for the question, the first of the types it is.
    """
    if len(types) == 1:
        return types[0]
    prompt, grammar = prompts.classify(text[:_BEGINNING], types)
    try:
        said = await engine.complete(prompt, Sampling(max_tokens=_TYPE_TOKENS, grammar=grammar), priority=priority)
    except PromptTooLong:
        said = ""
    return said if said in types else types[0]


def by_evidence(hits: Sequence[Hit]) -> str | None:
    """Return the type that most of what was recalled for a query is of, weighted by coverage; None if nothing was.

    A query is classified by what is known about it: that costs no model call before the first token.
    """
    votes: dict[str, float] = {}
    for hit in hits:
        votes[hit.experience.type] = votes.get(hit.experience.type, 0.0) + hit.coverage
    return max(votes, key=lambda name: votes[name], default=None)
