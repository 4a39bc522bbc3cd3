"""Other words for the same thing: what must stay, stays."""

import random

import pytest

from espeer.lifecycle.essence import codes, negates, numbers, stems
from espeer.sim.experiments import paraphrases

TEXTS = (
    ("Which of the following cells is most closely associated with phagocytosis? Neutrophils", "Neutrophils"),
    ("When the Halvenor-2 will not crank and shows B240, set the gap to 4 mm.", "set the gap to 4 mm"),
    ("All of the following organs secrete digestive enzymes EXCEPT the gall bladder.", "the gall bladder"),
    ("It stops because the valve is not open: open it.", "open it"),
)


@pytest.mark.parametrize(("text", "right"), TEXTS)
def test_wordings_by_rule_differ_and_say_the_same(text: str, right: str) -> None:
    made = paraphrases.by_rule(text, right=right, rng=random.Random(1), most=60)
    assert len(set(made) - {text}) == 60
    for wording in made:
        assert (codes(wording), numbers(wording), negates(wording)) == (codes(text), numbers(text), negates(text))
        assert stems(right) <= stems(wording)
    assert made == paraphrases.by_rule(text, right=right, rng=random.Random(1), most=60)


@pytest.mark.parametrize(
    ("wording", "kept"),
    [
        ("B240 on the Halvenor-2 that will not crank: set its gap to 4 mm.", True),
        ("B241 on the Halvenor-2 that will not crank: set its gap to 4 mm.", False),  # another code
        ("B240 on the Halvenor-2 that will not crank: set its gap to 5 mm.", False),  # another number
        ("B240 on the Halvenor-2 that will crank: set its gap to 4 mm.", False),  # the contrary
        ("B240 on the Halvenor-2 that will not crank: 4 mm.", False),  # the answer is gone
        ("B240 on the Halvenor-2 that will not crank: set its gap to 4 mm, says Orla.", False),  # a name of its own
        ("", False),
    ],
)
def test_what_a_model_words_is_kept_where_it_says_the_same(wording: str, *, kept: bool) -> None:
    text, right = TEXTS[1]
    assert paraphrases.keeps(wording, text, right=right) is kept
