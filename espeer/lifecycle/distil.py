"""Distillation: from an episode to one compact experience (paper section 3).

Small models lose codes and make cures up. So what the model says is checked against its episode; it gets one more try, and
else the experience is put together from the episode's own sentences. The method is noted in the record.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from espeer.bm25 import BM25Index
from espeer.interaction import Interaction
from espeer.lifecycle import prompts
from espeer.lifecycle.episodes import codes
from espeer.llm.engine import Engine, Priority
from espeer.llm.model import Sampling
from espeer.records import MAX_TEXT
from espeer.text import is_clean

MAX_DISTILLATE: Final = 600
"""The most characters of a distilled text. An experience is compact: several must fit a small context."""

MIN_KEPT: Final = 0.5
"""A distillate keeps at least this share of the terms of the episode's outcome."""

_ECHO_TERMS: Final = 2
"""This many terms that stand in the prompt's own text and not in the episode are an echo of it."""

_SAMPLING: Final = Sampling(max_tokens=64, stop=("\n", ". "))  # one sentence: small models ramble after it

_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
_NAME = re.compile(r"(?<=[\w,;:)] )[A-Z][\w'-]+")  # a capital inside a sentence
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n")
_SUFFIX = re.compile(r"(?:ing|ed|es|s|e)$")


@dataclass(frozen=True, slots=True)
class Distillate:
    """What came of an episode: the text, and one of :data:`espeer.records.METHODS`."""

    text: str
    method: str


async def distil(engine: Engine, episode: Sequence[Interaction]) -> Distillate:
    """Distil an episode with the model, or by extraction when two tries fail the check."""
    first = await engine.complete(prompts.distil(episode), _SAMPLING, priority=Priority.DISTIL)
    if not problems(first.strip(), episode):
        return Distillate(first.strip(), "distilled")
    outcomes = " ".join(filter(None, map(_outcome, episode)))
    if outcomes:  # the easier half of the task: the report stays as it is, only what was done becomes an instruction
        said = await engine.complete(prompts.instruct(outcomes), _SAMPLING, priority=Priority.DISTIL)
        second = f"{episode[0].query.rstrip('.!? ')}: {said.strip()}"
        if not problems(second, episode):
            return Distillate(second, "retried")
    return Distillate(extract(episode), "extractive")


def problems(text: str, episode: Sequence[Interaction]) -> list[str]:
    """Return what is wrong with a distillate, one line each; nothing if it can be kept.

    It must keep the codes and names of the reports and outcomes, and the outcomes' numbers and :data:`MIN_KEPT` of their
    terms (the reports' where there is no outcome). It must not bring codes or numbers of its own, echo the prompt, or be
    longer than its episode or :data:`MAX_DISTILLATE`.
    """
    if not is_clean(text):
        return ["empty or with control characters"]
    reports = " ".join(interaction.query for interaction in episode)
    outcomes = " ".join(filter(None, map(_outcome, episode))) or reports
    essence = f"{reports} {outcomes}"
    everything = "\n".join(_everything(interaction) for interaction in episode)
    found = []
    if len(text) > min(MAX_DISTILLATE, max(len(everything), 80)):
        found.append("too long")
    if lost := (codes(essence) - codes(text)) | (_numbers(outcomes) - _numbers(text)) | _lost_names(essence, text):
        found.append(f"lost {', '.join(sorted(lost))}")
    if invented := (codes(text) - codes(everything)) | (_numbers(text) - _numbers(everything)):
        found.append(f"made up {', '.join(sorted(invented))}")
    terms = _stems(outcomes)
    if terms and len(terms & _stems(text)) < MIN_KEPT * len(terms):
        found.append("lost the outcome")
    if len((_stems(prompts.instructions()) & _stems(text)) - _stems(everything)) >= _ECHO_TERMS:
        found.append("echoes the prompt")
    return found


def extract(episode: Sequence[Interaction]) -> str:
    """Put an experience together from the episode's own sentences: every report with its outcome, none twice.

    Whole sentences until :data:`~espeer.records.MAX_TEXT` is reached; the first one is cut if it alone is longer.
    """
    kept: list[str] = []
    size = 0
    for interaction in episode:
        for part in (interaction.query, _outcome(interaction)):
            for sentence in filter(None, (piece.strip() for piece in _SENTENCE_END.split(part))):
                ended = sentence if sentence[-1] in ".!?:;" else sentence + "."
                size += len(ended.encode()) + 1
                if ended not in kept and size <= MAX_TEXT:
                    kept.append(ended)
    if not kept:
        return episode[0].query.encode()[: MAX_TEXT - 4].decode(errors="ignore")
    return " ".join(kept)


def _outcome(interaction: Interaction) -> str:
    """Return the substance: the feedback, or what was answered where there is none."""
    return interaction.feedback or interaction.response


def _everything(interaction: Interaction) -> str:
    return f"{interaction.query}\n{interaction.response}\n{interaction.feedback}"


def _numbers(text: str) -> set[str]:
    return set(_NUMBER.findall(text))


def _lost_names(essence: str, text: str) -> set[str]:
    said = text.casefold()
    return {name for name in map(str.casefold, _NAME.findall(essence)) if name not in said}


def _stems(text: str) -> set[str]:
    """Return the terms without their commonest endings, so that "replacing the clips" keeps "replace the clip"."""
    return {_SUFFIX.sub("", term) for term in BM25Index.tokenize(text)}
