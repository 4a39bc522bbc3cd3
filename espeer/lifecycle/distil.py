"""Distillation: from an episode to one compact experience (paper section 3).

Small models lose codes and make cures up. So what the model says is checked against its episode; it gets one more try, and
else the experience is put together from the episode's own sentences. In the second try a grammar holds it to the words of the
outcome. The method is noted in the record.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from espeer.interaction import Interaction
from espeer.lifecycle import prompts
from espeer.lifecycle.essence import codes, cut, names, negates, numbers, sentences, size, stems, words
from espeer.lifecycle.prompts import DISTIL, Manner
from espeer.lifecycle.wording import instruction
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

_CUT_SENTENCE: Final = 1000
"""What is left of a sentence, in bytes, where there is no room for all of it: a log line, more likely."""

_SAMPLING: Final = Sampling(max_tokens=64, stop=("\n", ". "))  # one sentence: small models ramble after it


@dataclass(frozen=True, slots=True)
class Distillate:
    """What came of an episode: the text, and one of :data:`espeer.records.METHODS`."""

    text: str
    method: str


async def distil(engine: Engine, episode: Sequence[Interaction], manner: Manner = DISTIL) -> Distillate:
    """Distil an episode with the model, or by extraction when two tries fail the check.

    :param manner: how it is asked in the first try.
    """
    sampling = replace(_SAMPLING, grammar=instruction(" ".join(map(_everything, episode)))) if manner.held else _SAMPLING
    first = await engine.complete(prompts.distil(episode, manner), sampling, priority=Priority.DISTIL)
    if not problems(first.strip(), episode, manner):
        return Distillate(first.strip(), "distilled")
    outcomes = " ".join(filter(None, map(_outcome, episode)))
    if outcomes:  # the easier half of the task: the report stays as it is, only what was done becomes an instruction
        sampling = replace(_SAMPLING, grammar=instruction(outcomes))
        said = await engine.complete(prompts.instruct(outcomes), sampling, priority=Priority.DISTIL)
        second = f"{episode[0].query.rstrip('.!? ')}: {said.strip()}"
        if not problems(second, episode, manner):
            return Distillate(second, "retried")
    return Distillate(extract(episode), "extractive")


def problems(text: str, episode: Sequence[Interaction], manner: Manner = DISTIL) -> list[str]:
    """Return what is wrong with a distillate that was asked for in this manner, one line each; nothing if it can be kept.

    It must keep the codes and names of the reports and outcomes, and the outcomes' numbers, negations and :data:`MIN_KEPT` of
    their terms (the reports' where there is no outcome). It must not bring codes, numbers or names of its own, echo the
    prompt, or be longer than its episode or :data:`MAX_DISTILLATE`. What it cannot see: two numbers that changed places,
    numbers in words, and names at the beginning of a sentence.
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
    if lost := (codes(essence) - codes(text)) | (numbers(outcomes) - numbers(text)) | _lost_names(essence, text):
        found.append(f"lost {', '.join(sorted(lost))}")
    invented = (codes(text) - codes(everything)) | (numbers(text) - numbers(everything))
    if invented := invented | _lost_names(text, everything):
        found.append(f"made up {', '.join(sorted(invented))}")
    if negates(outcomes) and not negates(text):
        found.append("lost a negation")
    terms = stems(outcomes)
    if terms and len(terms & stems(text)) < MIN_KEPT * len(terms):
        found.append("lost the outcome")
    if len((stems(prompts.instructions(manner)) & stems(text)) - stems(everything)) >= _ECHO_TERMS:
        found.append("echoes the prompt")
    return found


def extract(episode: Sequence[Interaction]) -> str:
    """Put an experience together from the episode's own sentences: every report with its outcome, none twice.

    Outcomes are what others profit from most: where :data:`~espeer.records.MAX_TEXT` is too short for all, reports give way
    to them, and the longest sentences are cut.
    """
    reports = [sentences(interaction.query) for interaction in episode]
    outcomes = [sentences(_outcome(interaction)) for interaction in episode]
    for longest in (MAX_TEXT, _CUT_SENTENCE):
        pairs = zip(reports, outcomes, strict=True)
        kept = dict.fromkeys(cut(sentence, longest) for pair in pairs for part in pair for sentence in part)
        if size(kept) <= MAX_TEXT:
            return " ".join(kept)
    kept = {}
    for part in (*outcomes, *reports):
        for sentence in part:
            more = kept | {cut(sentence, _CUT_SENTENCE): None}
            if size(more) <= MAX_TEXT:
                kept = more
    return " ".join(kept)


def _outcome(interaction: Interaction) -> str:
    """Return the substance: the feedback, or what was answered where there is none."""
    return interaction.feedback or interaction.response


def _everything(interaction: Interaction) -> str:
    return f"{interaction.query}\n{interaction.response}\n{interaction.feedback}"


def _lost_names(before: str, after: str) -> set[str]:
    """Return the names in one text that are no words of the other."""
    return names(before) - words(after)
