"""Every prompt espeer writes, in one place and versioned (pure).

Raise :data:`VERSION` with any change that can change an answer: experiments note it beside their figures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from espeer.interaction import Interaction
from espeer.lifecycle.choice import LETTERS, Method
from espeer.llm.grammar import one_of
from espeer.llm.model import Message, Note, Prompt

VERSION: Final = 4


@dataclass(frozen=True, slots=True)
class Manner:
    """How a model is asked to put something in other words.

    :ivar task: what it is to do.
    :ivar examples: what is given, and what is wanted then.
    :ivar held: a grammar holds it to the words that it is given, where these are not too many.
    """

    task: str
    examples: Sequence[tuple[str, str]] = ()
    held: bool = False

    @property
    def words(self) -> str:
        """Its own words: what an echo of them would hold."""
        return "\n".join([self.task, *(part for pair in self.examples for part in pair)])


_DISTIL: Final = "You turn a field report into one short lesson. Copy every code, number and name exactly."
_DISTIL_EXAMPLES: Final = (
    (
        """Report: The Orla-2 dryer in hall 3 stops with K11 after its lid was opened.
Tried: A restart did not help.
Outcome: Pressing the lid switch for 5 seconds cleared it.""",
        "When the Orla-2 dryer stops with K11 after its lid was opened, press the lid switch for 5 seconds.",
    ),
    (
        """Report: Pages from the Brunt printer come out striped, code PX-9.
Outcome: Wiping the copper roller with dry felt gave clean pages again.""",
        "When the Brunt printer shows PX-9 and pages are striped, wipe the copper roller with dry felt.",
    ),
)
_INSTRUCT: Final = "You turn what was done into a short instruction. Copy every code, number and name exactly."
_INSTRUCT_EXAMPLES: Final = (
    ("Pressing the lid switch for 5 seconds cleared it.", "press the lid switch for 5 seconds"),
    ("Wiping the copper roller with dry felt gave clean pages again.", "wipe the copper roller with dry felt"),
    ("With parameter P12 put to 3 the fans ran quietly.", "put parameter P12 to 3"),
)
_CONDENSE: Final = "You merge notes on the same matter into one note. Copy every code, number and name exactly."
_CONDENSE_EXAMPLES: Final = (
    (
        (
            "When the Orla-2 dryer stops with K11 after its lid was opened, press the lid switch for 5 seconds.",
            "Orla-2 halts, K11 on the panel. Pressing the lid switch for 5 seconds cleared it.",
            "K11 on the Orla-2 after opening: press the lid switch for 5 seconds, then restart.",
        ),
        "When the Orla-2 dryer stops with K11 after its lid was opened, press the lid switch for 5 seconds, then restart.",
    ),
    (
        (
            "The Brunt printer shows PX-9 and pages are striped: wipe the copper roller with dry felt.",
            "Striped pages from the Brunt, PX-9. Wiping the copper roller cured it; do not use alcohol.",
        ),
        "When the Brunt printer shows PX-9 and pages are striped, wipe the copper roller with dry felt; do not use alcohol.",
    ),
)
_CLASSIFY: Final = "You sort texts into topics. Answer with the one topic that fits best."
_ASK: Final = "You answer questions briefly and truthfully."
_ASK_WITH_NOTES: Final = "You answer questions briefly, from the notes. Copy codes, numbers and names exactly."
_TASK_WITH_NOTES: Final = "Where the notes help, answer from them. Copy codes, numbers and names exactly."
_LEAD: Final = "Notes:\n"
_CHOOSE: Final[dict[Method, str]] = {
    "text": "Answer the question in a few words.",
    "letter": "Answer the question with the letter of the right choice.",
}
_CHOOSE_WITH_NOTES: Final = "Use the notes only where they are about the same matter."
_CHOOSE_OPENING: Final = "Answer:"
_CONFIDENCE: Final = "Is your answer right? Say Yes or No."


def listed(texts: Sequence[str]) -> str:
    """Give texts the form that they have in :func:`condense`."""
    return "\n".join(f"- {text}" for text in texts)


DISTIL: Final = Manner(_DISTIL, _DISTIL_EXAMPLES)
CONDENSE: Final = Manner(_CONDENSE, tuple((listed(notes), merged) for notes, merged in _CONDENSE_EXAMPLES))


def distil(episode: Sequence[Interaction], manner: Manner = DISTIL) -> Prompt:
    """Ask for the lesson of an episode."""
    return _by_example(manner.task, manner.examples, "\n".join(map(_report, episode)))


def instruct(outcomes: str) -> Prompt:
    """Ask for the instruction in what was done: less than a lesson, and within reach of a very small model."""
    return _by_example(_INSTRUCT, _INSTRUCT_EXAMPLES, outcomes)


def condense(texts: Sequence[str], manner: Manner = CONDENSE) -> Prompt:
    """Ask for one note in place of several on the same matter."""
    return _by_example(manner.task, manner.examples, listed(texts))


def classify(text: str, types: Sequence[str]) -> tuple[Prompt, str]:
    """Ask which type a text is of; return the prompt and the grammar that allows nothing but a type's name."""
    task = f"{_CLASSIFY} Topics: {', '.join(types)}."
    return Prompt((Message("system", task), Message("user", f"{text}\n\nTopic:"))), one_of(types)


def note(id: str, text: str) -> Note:
    """Give a recalled experience, or a beginning of one, the form that it has in a prompt.

    :param id: stands for the text for ever: see :class:`espeer.llm.model.Note`.
    """
    return Note(id, f"- {text}\n")


def ask(question: str, notes: Sequence[Note], *, task: str = "", earlier: Sequence[Message] = ()) -> Prompt:
    """Ask a question, with what was recalled for it, each made by :func:`note`.

    Notes stand at the head of the first turn, right after the task, so what a model worked out for them is of use however a
    conversation goes on.

    :param task: how to answer, in place of the usual.
    :param earlier: what was said before, user and assistant in turn, the user first.
    """
    if not task:
        system = _ASK_WITH_NOTES if notes else _ASK
    elif notes:
        system = f"{task}\n\n{_TASK_WITH_NOTES}"
    else:
        system = task
    first, *others = (*earlier, Message("user", question))
    return Prompt((Message("system", system), _with_notes(notes, first.content) if notes else first, *others))


def choose(question: str, choices: Sequence[str], notes: Sequence[Note], method: Method) -> tuple[Prompt, tuple[str, ...]]:
    """Ask a question with several answers; return the prompt and the continuations to score, one for each choice.

    :param choices: at most :data:`espeer.lifecycle.choice.MAX_CHOICES`.
    :param notes: what was recalled for the question, each made by :func:`note`.
    """
    lines = [f"Question: {question}"]
    continuations = tuple(f" {choice}" for choice in choices)
    if method == "letter":
        letters = LETTERS[: len(choices)]
        lines += [f"{letter}. {choice}" for letter, choice in zip(letters, choices, strict=True)]
        continuations = tuple(f" {letter}" for letter in letters)
    asked = "\n".join(lines)
    task, turn = _CHOOSE[method], Message("user", asked)
    if notes:
        task, turn = f"{task} {_CHOOSE_WITH_NOTES}", _with_notes(notes, asked)
    return Prompt((Message("system", task), turn), _CHOOSE_OPENING), continuations


def confidence(asked: Prompt, answer: str) -> Prompt:
    """Ask the model whether the answer it gave is right (P(True), Kadavath et al. 2022, arXiv 2207.05221)."""
    return Prompt((*asked.messages, Message("assistant", answer), Message("user", _CONFIDENCE)))


def instructions(manner: Manner = DISTIL) -> str:
    """Return the words of the distillation prompts that are not the episode's: what an echo of them would hold."""
    return f"{manner.words}\n{Manner(_INSTRUCT, _INSTRUCT_EXAMPLES).words}"


def _with_notes(notes: Sequence[Note], asked: str) -> Message:
    return Message("user", f"\n{asked}", lead=_LEAD, notes=tuple(notes))


def _by_example(task: str, examples: Sequence[tuple[str, str]], given: str) -> Prompt:
    turns = [Message("system", task)]
    for before, after in examples:
        turns += [Message("user", before), Message("assistant", after)]
    return Prompt((*turns, Message("user", given)))


def _report(interaction: Interaction) -> str:
    parts = [("Report", interaction.query), ("Tried", interaction.response), ("Outcome", interaction.feedback)]
    return "\n".join(f"{label}: {text}" for label, text in parts if text)
