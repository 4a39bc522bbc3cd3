"""Measure once for each model how it is best asked multiple choice: by letter or by text."""

import contextlib
import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from espeer.lifecycle import prompts
from espeer.lifecycle.choice import Method, pick
from espeer.llm.engine import Engine, Priority
from espeer.llm.model import Note
from espeer.llm.weights import cache_folder, read_json, write_json
from espeer.tasks import in_thread

_MASTERED: Final = 0.9
"""A model with a larger share of :data:`CALIBRATION` right by letter is asked by letter, however it does by text. These
questions are easy: they show what is out of a model's reach, not which way is better on hard ones. There it helps to see the
choices beside each other: of 80 questions of MMLU's High School Biology Qwen2.5-Coder-1.5B has 39 right by letter and 30 by
text, but of these twenty 19 and 20."""


@dataclass(frozen=True, slots=True)
class Item:
    """A question with its choices, the index of the right one, and a passage that tells it, if any."""

    question: str
    choices: tuple[str, str, str, str]
    answer: int
    passage: str = ""

    @property
    def notes(self) -> tuple[Note, ...]:
        """The passage, as a prompt has it."""
        digest = hashlib.sha256(self.passage.encode()).hexdigest()
        return (prompts.note(digest, self.passage),) if self.passage else ()


@dataclass(frozen=True, slots=True)
class Calibration:
    """How often a model was right, 0 to 1, when asked for the letter and when scored by the text of the choices."""

    letter_accuracy: float
    text_accuracy: float

    @property
    def method(self) -> Method:
        """The better way to ask it: by letter where it masters that; else of equals by text, whatever the choices' order is."""
        return "letter" if self.letter_accuracy > min(self.text_accuracy, _MASTERED) else "text"


CALIBRATION: Final[tuple[Item, ...]] = (
    Item(
        "Which gas do plants take in from the air to make sugar?", ("carbon dioxide", "helium gas", "argon gas", "neon gas"), 0
    ),
    Item("Which planet is nearest to the Sun?", ("Neptune", "Mercury", "Jupiter", "Saturn"), 1),
    Item("What is frozen water called?", ("steam", "smoke", "ice", "sand"), 2),
    Item("Which organ pumps blood through the body?", ("the liver", "the lungs", "the brain", "the heart"), 3),
    Item("What do bees make from nectar?", ("butter", "honey", "vinegar", "cheese"), 1),
    Item("Which instrument measures temperature?", ("barometer", "speedometer", "thermometer", "odometer"), 2),
    Item("What is the capital city of France?", ("Paris", "Madrid", "Berlin", "Vienna"), 0),
    Item("Which force pulls a dropped stone to the ground?", ("friction", "magnetism", "tension", "gravity"), 3),
    Item("How many legs does a spider have?", ("four legs", "six legs", "eight legs", "ten legs"), 2),
    Item("Which metal is drawn to a magnet?", ("copper", "iron", "gold", "lead"), 1),
    Item(
        "What did the crew of the ferry Oriane do about the noise from the shaft?",
        ("they greased the bearing", "they painted the funnel", "they emptied the bilge", "they changed the anchor"),
        0,
        "The ferry Oriane had a noise from the shaft at low speed. Grease in the bearing ended it.",
    ),
    Item(
        "Which setting cured fault K19 on the Belmar press?",
        ("a gap of 2 mm", "a gap of 5 mm", "a gap of 7 mm", "a gap of 9 mm"),
        2,
        "Fault K19 on the Belmar press came back each week, until the gap was set to 7 mm.",
    ),
    Item(
        "On which day is the market of Tarnwick held?",
        ("on Monday", "on Tuesday", "on Friday", "on Sunday"),
        1,
        "Tarnwick is a small town on a river. Its market is held on Tuesday, in front of the mill.",
    ),
    Item(
        "What does the Solva lamp need when it blinks three times?",
        ("a new fuse", "a new cable", "a new switch", "a new battery"),
        3,
        "A Solva lamp that blinks three times asks for a new battery; twice means that the bulb is too strong.",
    ),
    Item(
        "What colour does the Merin test strip turn in hard water?",
        ("it turns violet", "it turns yellow", "it turns orange", "it turns green"),
        0,
        "The Merin test strip stays white in soft water, and in hard water it turns violet within a minute.",
    ),
    Item(
        "Why did the pump at Hollin farm stop at night?",
        ("its valve was worn", "its filter was full", "its timer was wrong", "its cable was cut"),
        2,
        "The pump at Hollin farm stopped every night at ten. Nothing was broken: its timer was wrong by twelve hours.",
    ),
    Item(
        "Who keeps the key of the Aldby lighthouse?",
        ("the baker", "the doctor", "the teacher", "the farmer"),
        1,
        "The Aldby lighthouse is open in summer only. For a visit in winter, the doctor keeps the key.",
    ),
    Item(
        "Which port does the Quill printer listen on?",
        ("port 4410", "port 5120", "port 6230", "port 7340"),
        3,
        "The Quill printer was not found by the scanner, since it listens on port 7340 and the scan ended at 7000.",
    ),
    Item(
        "What stops the Ferrand oven from smoking?",
        ("cleaning the flue", "closing the door", "lowering the tray", "drying the tiles"),
        0,
        "When the Ferrand oven smokes, lowering the heat does not help. Cleaning the flue does.",
    ),
    Item(
        "What was wrong with the sensor in bay six?",
        ("it was too old", "it was too hot", "it was under water", "it was upside down"),
        3,
        "The sensor in bay six read below zero all July. It was upside down; turned over, it read right.",
    ),
)
"""Half from general knowledge, half about invented things with the passage that tells: what recall gives a node."""


async def known(engine: Engine) -> Calibration:
    """Return what was measured for the engine's model; where nothing was, measure it, and remember that."""
    digest = engine.model.digest
    found = await in_thread(load, digest)
    if found is None:
        found = await measure(engine)
        await in_thread(save, digest, found)
    return found


async def measure(engine: Engine) -> Calibration:
    """Put :data:`CALIBRATION` to the model both ways. Background work: half a minute for the default model.

    :raises QueueFull, ModelError: as :meth:`Engine.score`.
    """
    right = {method: sum(answers) for method, answers in (await answer(engine)).items()}
    return Calibration(right["letter"] / len(CALIBRATION), right["text"] / len(CALIBRATION))


async def answer(engine: Engine) -> dict[Method, list[bool]]:
    """Which of :data:`CALIBRATION` the model has right, asked each way. As :func:`measure`."""
    right: dict[Method, list[bool]] = {"letter": [], "text": []}
    for method, answers in right.items():
        for item in CALIBRATION:
            prompt, continuations = prompts.choose(item.question, item.choices, item.notes, method)
            scores = await engine.score(prompt, continuations, priority=Priority.DISTIL)
            answers.append(pick(scores, method)[0] == item.answer)
    return right


def load(digest: str, cache: Path | None = None) -> Calibration | None:
    """What was measured for the model with this digest; None if nothing was, or the file is damaged."""
    value = read_json(_path(digest, cache))
    match value:
        case {"letter_accuracy": float(letter), "text_accuracy": float(text)} if 0 <= letter <= 1 and 0 <= text <= 1:
            return Calibration(letter, text)
        case _:
            return None


def save(digest: str, calibration: Calibration, cache: Path | None = None) -> None:
    """Remember a measurement. Where the cache cannot be written, it is made again at the next start."""
    with contextlib.suppress(OSError):
        write_json(_path(digest, cache), asdict(calibration))


def _path(digest: str, cache: Path | None) -> Path:
    return (cache or cache_folder()) / "calibration" / f"{digest}-prompts-{prompts.VERSION}.json"
