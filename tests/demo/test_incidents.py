"""The demo's ground truth keeps its own rules: nothing but the cure tells the right choice from the wrong ones."""

import importlib.resources
import json
import re
from collections import Counter
from itertools import pairwise
from typing import TypedDict

import pytest


class Incident(TypedDict):
    id: str
    area: str
    report: str
    attempt: str
    cure: str
    question: str
    choices: list[str]
    answer: int


INCIDENTS: list[Incident] = json.loads(
    importlib.resources.files("espeer.demo").joinpath("incidents.json").read_text(encoding="utf-8")
)
AREAS = ("hydraulics", "electrical", "controls")
THIRD = 27
CODE = re.compile(r"\b[A-Z]{1,3}-?\d{2,3}\b")
MODEL = re.compile(
    r"\b(?:Brontel-6|Oskvara|Tindrel-40|Halvenor-2|Pellorin|Quandrel-9|Sorvane|Yarrowick-5|Zefrund|Dunmarrow-8|Ektolin"
    r"|Fennwyr-12|Gristola|Huldrake-7|Ivenska|Jaspolt-4|Kelpra-11|Lumbrik|Nethrun-3|Ombrelt|Pruntik-15|Ruvalka|Skelmora-2"
    r"|Tarquell|Ulvenar-10|Vastrund-5|Wimbrag)(?![\w-])"
)
KIND = re.compile(
    r"\b(?:baler|bender|capper|chipper|conveyor|crane|crusher|dryer|filler|gantry|kiln|labeller|lathe|lift|loader|mill|mixer"
    r"|moulder|palletizer|press|saw|shear|sorter|stacker|trencher|washer|winder)\b"
)
WORD = re.compile(r"[a-z0-9]+(?:\.[0-9]+)?")
NUMBER = re.compile(r"\d+(?:\.\d+)?")
_COMMON_WORDS = """
after all and any are because before but by can did does each for from had has have how instead into its itself just more must
not off once only other our out over should since some than that the their then there these they this those though through too
under until was were what when whenever where which while whose will with
"""
COMMON_WORDS = frozenset(_COMMON_WORDS.split())

each_incident = pytest.mark.parametrize("incident", INCIDENTS, ids=[incident["id"] for incident in INCIDENTS])


def words(text: str) -> set[str]:
    """Return the numbers and the words that say something."""
    return {
        word
        for word in WORD.findall(text.lower())
        if any(map(str.isdigit, word)) or (len(word) > 2 and word not in COMMON_WORDS)
    }


def story(text: str) -> set[str]:
    """Return the words of a text without the machine's name and kind and without the code."""
    return words(KIND.sub(" ", MODEL.sub(" ", CODE.sub(" ", text))))


def only(pattern: re.Pattern[str], text: str) -> str:
    (found,) = pattern.findall(text)
    return str(found)


def right_choice(incident: Incident) -> str:
    return incident["choices"][incident["answer"]]


def distractors(incident: Incident) -> list[str]:
    return [choice for index, choice in enumerate(incident["choices"]) if index != incident["answer"]]


def frame(incident: Incident) -> set[str]:
    """Return the words that all four choices share."""
    return set.intersection(*[words(choice) for choice in incident["choices"]])


def test_there_are_81_in_three_areas_by_turns() -> None:
    assert len(INCIDENTS) == 81
    assert [incident["id"] for incident in INCIDENTS] == [f"inc-{number:02d}" for number in range(1, 82)]
    assert [incident["area"] for incident in INCIDENTS] == [AREAS[index % 3] for index in range(81)]


@each_incident
def test_keys_and_types(incident: Incident) -> None:
    assert list(incident) == list(Incident.__annotations__)
    assert type(incident["answer"]) is int
    assert isinstance(incident["choices"], list)
    texts = [incident[key] for key in ("id", "area", "report", "attempt", "cure", "question")] + incident["choices"]
    for text in texts:
        assert isinstance(text, str)
        assert text
        assert text == " ".join(text.split())
        assert text.isascii()


@each_incident
def test_sentences(incident: Incident) -> None:
    assert 1 <= len(re.findall(r"[.?!](?= |$)", incident["report"])) <= 2
    for text in (incident["attempt"], incident["cure"]):
        assert len(re.findall(r"[.?!](?= |$)", text)) == 1
        assert text.endswith(".")
    assert len(incident["attempt"].split()) <= 14
    assert 12 <= len(incident["cure"].split()) <= 25
    assert incident["question"].endswith("?")


def test_every_text_is_unique() -> None:
    for key in ("report", "attempt", "cure", "question"):
        assert len({incident[key].casefold() for incident in INCIDENTS}) == 81, key
    assert len({right_choice(incident) for incident in INCIDENTS}) == 81


def test_every_report_has_a_code_of_its_own() -> None:
    assert len({only(CODE, incident["report"]) for incident in INCIDENTS}) == 81


def test_every_machine_comes_once_in_each_third_and_in_each_area() -> None:
    places: dict[str, list[int]] = {}
    for index, incident in enumerate(INCIDENTS):
        places.setdefault(only(MODEL, incident["report"]), []).append(index)
    assert len(places) == 27
    for model, indices in places.items():
        assert [index // THIRD for index in indices] == [0, 1, 2], model
        assert {index % 3 for index in indices} == {0, 1, 2}, model
        assert all(later - earlier >= 9 for earlier, later in pairwise(indices)), model


def test_answers_are_balanced() -> None:
    answers = [incident["answer"] for incident in INCIDENTS]
    assert sorted(Counter(answers).items()) == [(index, answers.count(index)) for index in range(4)]
    assert set(Counter(answers).values()) <= {20, 21}
    assert not any(len(set(answers[start : start + 4])) == 1 for start in range(78))
    for start in range(0, 81, THIRD):
        assert all(4 <= answers[start : start + THIRD].count(index) <= 9 for index in range(4))


@each_incident
def test_choices_are_of_one_form(incident: Incident) -> None:
    choices = incident["choices"]
    assert len(choices) == len(set(choices)) == 4
    assert len({choice.split()[0] for choice in choices}) == 1
    counts = [len(choice.split()) for choice in choices]
    assert min(counts) >= 3
    assert max(counts) <= 6
    assert max(counts) - min(counts) <= 1
    lengths = [len(choice) for choice in choices]
    assert max(lengths) <= 1.4 * min(lengths)


@each_incident
def test_the_cure_names_the_right_choice_alone(incident: Incident) -> None:
    assert 0 <= incident["answer"] <= 3
    cure = words(incident["cure"])
    shared = len(words(right_choice(incident)) & cure)
    assert shared >= 2
    assert all(len(words(choice) & cure) < shared for choice in distractors(incident))
    assert words(right_choice(incident)) - frame(incident) <= cure


@each_incident
def test_what_was_learnt_holds_no_word_of_a_distractor(incident: Incident) -> None:
    learnt = words(" ".join((incident["report"], incident["attempt"], incident["cure"])))
    for choice in distractors(incident):
        own = words(choice) - words(right_choice(incident))
        assert own
        assert not own & learnt


@each_incident
def test_the_question_finds_the_incident_and_does_not_answer_itself(incident: Incident) -> None:
    question = incident["question"]
    code, model = only(CODE, incident["report"]), only(MODEL, incident["report"])
    assert set(CODE.findall(question)) <= {code}
    assert set(MODEL.findall(question)) <= {model}
    assert CODE.findall(question) or MODEL.findall(question)
    asked = story(question)
    assert len(asked & story(incident["report"])) <= 1  # one symptom word
    assert not asked & story(incident["cure"])
    for choice in incident["choices"]:
        assert not (words(choice) - frame(incident)) & words(question)


def test_the_right_choice_stands_out_neither_by_length_nor_by_value() -> None:
    longest = shortest = of_values = 0
    ranks: Counter[int] = Counter()
    for incident in INCIDENTS:
        right, others = right_choice(incident), distractors(incident)
        longest += len(right) > max(map(len, others))
        shortest += len(right) < min(map(len, others))
        values = [float(only(NUMBER, choice)) for choice in incident["choices"] if len(NUMBER.findall(choice)) == 1]
        if len(values) == 4:
            of_values += 1
            ranks[sorted(values).index(values[incident["answer"]])] += 1
    assert longest <= 16
    assert shortest <= 16
    assert of_values >= 20
    assert all(abs(ranks[rank] - of_values / 4) <= 3 for rank in range(4)), ranks
