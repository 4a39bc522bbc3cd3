"""Find the form of a model's weights that is fastest on this machine, and whose accuracy holds.

A form is a quantisation (:data:`espeer.llm.weights.FORMS`). Each is compared with the file as it is, in pairs: the same
questions, and the same tokens of the same text.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import exp, sqrt
from pathlib import Path
from statistics import mean, median, stdev
from typing import Final

import trio

from espeer.lifecycle import calibration
from espeer.llm import speed, weights
from espeer.llm.cores import usable_cores
from espeer.llm.engine import Engine
from espeer.llm.gguf import Gguf
from espeer.llm.loading import open_file
from espeer.llm.speed import Speed
from espeer.tasks import background

PERPLEXITY: Final = 0.02
"""The share by which perplexity may rise, at most, with 95 % confidence."""
ANSWERS: Final = 1
"""The most answers that may be lost, less those won, of the calibration's questions asked both ways."""
GAIN: Final = 0.05
"""The share of an answer's time that must be saved: less is not worth the room on the disk."""
_ROUNDS: Final = 3
_BYTES: Final = {"Q8_0": 1.07, "Q4_0": 0.57, "F16": 2.0}  # for a weight, scales included; first what is likeliest to be kept
_TEXT: Final = "\n".join(
    f"{item.passage or item.question} {item.question} {item.choices[item.answer]}." for item in calibration.CALIBRATION
)


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of one form.

    :ivar form: one of the forms, or ``as it is``.
    :ivar right: for each question and way to ask it, whether the answer was right.
    :ivar surprise: for each token of the text, how little it was expected, in nats.
    """

    form: str
    path: Path
    speed: Speed
    right: tuple[bool, ...]
    surprise: tuple[float, ...]

    @property
    def perplexity(self) -> float:
        """Of the text: one number for how well it was predicted."""
        return exp(mean(self.surprise))


@dataclass(frozen=True, slots=True)
class Loss:
    """What a form loses against the file as it is, in pairs.

    :ivar lost: answers that were right and are wrong now.
    :ivar won: the other way round.
    :ivar nats: mean rise of the surprise for a token.
    :ivar error: its standard error.
    """

    lost: int
    won: int
    nats: float
    error: float

    @property
    def holds(self) -> bool:
        """Whether the accuracy holds."""
        return self.lost - self.won <= ANSWERS and exp(self.nats + 1.96 * self.error) - 1 <= PERPLEXITY


def candidates(head: Gguf, *, memory: int | None, disk: int) -> list[str]:
    """The forms worth a try: other than the file's own, each alone within the memory, and all of them on the disk.

    :param memory: bytes of memory that the machine has, if that is known.
    :param disk: bytes that are free where they are kept.
    """
    forms = []
    for form, size in _BYTES.items():
        needed = int(head.parameters * size)
        if form == head.quantisation or needed > disk or (memory is not None and needed > memory // 2):
            continue
        forms.append(form)
        disk -= needed
    return forms


def loss(before: Measured, after: Measured) -> Loss:
    """Compare two forms of the same weights."""
    pairs = list(zip(before.right, after.right, strict=True))
    rises = [b - a for a, b in zip(before.surprise, after.surprise, strict=True)]
    return Loss(pairs.count((True, False)), pairs.count((False, True)), mean(rises), stdev(rises) / sqrt(len(rises)))


def fastest(measured: list[Measured]) -> Measured:
    """The fastest form whose accuracy holds; the first, which is the file as it is, unless another saves enough."""
    first = measured[0]
    able = [form for form in measured[1:] if loss(first, form).holds and form.speed.ask <= (1 - GAIN) * first.speed.ask]
    return min(able, key=lambda form: form.speed.ask, default=first)


async def measure(path: Path, forms: list[str], *, tell: Callable[[str], None], cache: Path | None = None) -> list[Measured]:
    """Measure ``path`` as it is and in ``forms``, which stay in the cache until :func:`espeer.llm.weights.choose` is called.

    It takes a minute for the default model, and times the size for larger ones.

    :param tell: is told what is going on.
    :raises ModelUnreadable: llama.cpp cannot load the file or make a form of it.
    :raises OSError: the cache folder cannot be written.
    """
    paths = {weights.AS_IT_IS: path}
    for form in forms:
        tell(f"making {form}")
        paths[form] = await trio.to_thread.run_sync(partial(weights.in_form, path, form, cache=cache))
    times: dict[str, list[Speed]] = {form: [] for form in paths}
    for number in range(_ROUNDS):
        tell(f"timing, {number + 1} of {_ROUNDS}")
        for form, file in paths.items():
            times[form].append(await trio.to_thread.run_sync(_time, file))
    found = []
    for form, file in paths.items():
        tell(f"asking {form}")
        surprise = await trio.to_thread.run_sync(_read, file)
        found.append(Measured(form, file, _median(times[form]), await _ask(file), surprise))
    return found


def _time(path: Path) -> Speed:
    with speed.trial(path) as opened:
        return opened.speed(usable_cores())


def _read(path: Path) -> tuple[float, ...]:
    with speed.trial(path, context=2048) as opened:
        return tuple(float(nats) for nats in opened.surprise(_TEXT))


async def _ask(path: Path) -> tuple[bool, ...]:
    model = await trio.to_thread.run_sync(open_file, path)
    try:
        async with background() as nursery:
            engine = Engine(model)
            await nursery.start(engine.run)
            answers = await calibration.answer(engine)
    finally:
        model.close()
    return (*answers["letter"], *answers["text"])


def _median(times: list[Speed]) -> Speed:
    return Speed(*(median(getattr(one, name) for one in times) for name in ("prompt", "token", "first")))
