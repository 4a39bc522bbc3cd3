"""The words that an instruction may be said in: those of what was done, and little more (pure).

A small model that is to turn "Pressing the lid switch for 5 seconds cleared it." into an instruction sometimes takes numbers
and names from the prompt's examples, or makes them up. Held to the outcome's own words by a grammar it cannot.
"""

from typing import Final

from espeer.llm.grammar import MAX_VALUES, in_words

_MOST: Final = 60
"""The most words of an instruction."""

_LITTLE: Final = (
    *("the", "a", "an", "and", "or", "to", "it", "in", "on", "of", "with", "for", "then", "by"),
    *("at", "until", "not", "do", "no", "from", "is", "be", "its", "when", "if", "only"),
)
_ENDINGS: Final = ("ing", "ed")
_SHORTEST: Final = 3  # letters before an ending: "ring" and "red" have none


def instruction(outcomes: str) -> str | None:
    """Return the grammar of instructions in the words of these outcomes; None where they have too many or none.

    A word that ends in -ing or -ed may lose that ("pressing", "press"), with an e put on ("wiping", "wipe") or a doubled letter
    made single ("plugging", "plug"). Some such forms are no words.
    """
    words: dict[str, None] = {}
    for written in outcomes.split():
        if word := written.strip(".,;:!?()\"'"):
            words |= dict.fromkeys((word, *_forms(word)))
    if not words or len(words) + len(_LITTLE) > MAX_VALUES:
        return None
    return in_words([*(words | dict.fromkeys(_LITTLE))], _MOST)


def _forms(word: str) -> list[str]:
    if not word.isalpha() or not word[1:].islower():  # a code or a number stays as it is
        return []
    word = word.lower()
    forms = [word]
    for ending in _ENDINGS:
        stem = word.removesuffix(ending)
        if stem != word and len(stem) >= _SHORTEST:
            forms += [stem, f"{stem}e"]
            if stem[-1] == stem[-2]:
                forms.append(stem[:-1])
    return forms
