"""Saturate a replica: does it stay within its budget, and is what was learnt still found.

After the paper's third experiment: every experience comes back many times in other words. 200 faults of an invented fleet are
each reported 20 times, by rule-made paraphrases; the replica's budget is a tenth of that. Then the question of each fault is
asked before and after the refinement: is one of the fault's reports, or what stands for it, among the first five?
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import trio
from nacl.signing import SigningKey

from espeer import records
from espeer.lifecycle.refiner import Outcome, Refiner, Settings
from espeer.llm.engine import Engine
from espeer.llm.loading import open_model
from espeer.llm.model import Model
from espeer.records import Experience, SignedRecord
from espeer.replica import Replica
from espeer.store import Store

KEY = SigningKey(bytes(range(32)))
K = 5

_NAMES = ["Kestrel", "Orla", "Brunt", "Halven", "Tamsin", "Ulven"]
_MACHINES = [
    "pump",
    "dryer",
    "press",
    "lathe",
    "mixer",
    "crane",
    "loader",
    "boiler",
    "chiller",
    "conveyor",
    "furnace",
    "packer",
]
_PARTS = [
    "inlet filter",
    "idler",
    "lid switch",
    "drive belt",
    "relief valve",
    "coupling",
    "encoder",
    "nozzle",
    "gasket",
    "chain",
]
_SIGNS = [
    ("stops", "halts", "shuts down"),
    ("overheats", "runs hot", "gets too warm"),
    ("leaks oil", "loses oil", "drips oil"),
    ("vibrates", "shakes", "trembles"),
    ("will not start", "does not start", "fails to start"),
    ("runs slowly", "is slow", "lost its speed"),
    ("makes a grinding noise", "grinds", "grinds loudly"),
    ("trips its breaker", "throws the breaker", "blows the breaker"),
]
_WHENS = [
    ("after a cold start", "when started cold", "on cold mornings"),
    ("under full load", "at full load", "when fully loaded"),
    ("after cleaning", "once it was cleaned", "following a clean"),
    ("in the night shift", "at night", "during the night shift"),
    ("when the door was opened", "after opening the door", "once the door is open"),
]
_CURES = [
    ("replacing the {part}", "replace the {part}", "a new {part}"),
    ("cleaning the {part}", "clean the {part}", "wipe the {part} clean"),
    ("setting the {part} to {number} mm", "set the {part} to {number} mm", "adjust the {part} to {number} mm"),
    ("tightening the {part} to {number} Nm", "tighten the {part} to {number} Nm", "torque the {part} to {number} Nm"),
    (
        "purging the {part} for {number} seconds",
        "purge the {part} for {number} seconds",
        "flush the {part} for {number} seconds",
    ),
]
_FORMS = [
    "When the {name} {sign} with {code} {when}, {cure}.",
    "The {name} {sign} and shows {code} {when}. {Cure} cured it.",
    "{name}: {code}, {sign} {when}. {Cure}.",
    "{code} on the {name}, which {sign} {when}: {cure}.",
    "If the {name} {sign} {when} and reports {code}, {cure}.",
]
_QUESTION = "Our {name} {sign} and the panel says {code}. What should we do?"
_TRIES = 30  # as many texts are made for each that is wanted, since chance makes some twice


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault: the texts that report it, and a question in other words."""

    reports: tuple[str, ...]
    question: str


def faults(count: int, paraphrases: int, *, seed: int = 1) -> list[Fault]:
    """Make so many different faults, each with so many reports; equal for equal seeds."""
    rng = random.Random(seed)  # noqa: S311 - nothing secret
    return [_fault(number, paraphrases, rng) for number in range(count)]


def _fault(number: int, paraphrases: int, rng: random.Random) -> Fault:
    fixed = {
        "name": f"{rng.choice(_NAMES)}-{number // 4 + 1} {_MACHINES[number % len(_MACHINES)]}",
        "code": f"{rng.choice('ABEFHJK')}{number + 10}",
    }
    cured_with = {"part": rng.choice(_PARTS), "number": rng.randint(2, 90)}
    sign, when, cure = rng.choice(_SIGNS), rng.choice(_WHENS), rng.choice(_CURES)

    def said(form: str) -> str:
        cured = rng.choice(cure).format(**cured_with)
        text = form.format(**fixed, sign=rng.choice(sign), when=rng.choice(when), cure=cured, Cure=cured[0].upper() + cured[1:])
        return text[0].upper() + text[1:]

    made = sorted({said(rng.choice(_FORMS)) for _ in range(paraphrases * _TRIES)})
    chosen = rng.sample(made, min(paraphrases, len(made)))
    chosen += [rng.choice(chosen) for _ in range(paraphrases - len(chosen))]
    return Fault(tuple(chosen), said(_QUESTION))


def fill(replica: Replica, given: Sequence[Fault]) -> list[set[str]]:
    """Store all reports, in turn as they would come; return the ids of each fault's."""
    ids: list[set[str]] = [set() for _ in given]
    for turn in range(len(given[0].reports)):
        batch = [told(fault.reports[turn], turn * len(given) + place) for place, fault in enumerate(given)]
        replica.add(batch, via="gossip")
        for own, signed in zip(ids, batch, strict=True):
            own.add(signed.id.hex())
    return ids


def told(text: str, created: int) -> SignedRecord:
    """Make an experience."""
    record = Experience("faults", text, created, bytes(KEY.verify_key), "benchmark", "distilled")
    return records.sign(record, lambda digest: KEY.sign(digest).signature)


def recall(replica: Replica, given: Sequence[Fault], ids: Sequence[set[str]]) -> float:
    """Return the share of the questions that find a report of their fault, or what stands for one, among the first five."""
    found = 0
    for fault, own in zip(given, ids, strict=True):
        standing = own | {by for id_ in own if (by := replica.show(id_).by)}
        found += any(hit.id in standing for hit in replica.recall(fault.question, K))
    return found / len(given)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it: recall before and after, active experiences, bytes of their texts."""

    recall_before: float
    recall_after: float
    active_before: int
    active_after: int
    budget: int
    bytes_before: int
    bytes_after: int
    outcome: Outcome
    seconds: float


async def saturate(
    given: Sequence[Fault], model: Model, *, budget: int, threshold: float, folder: Path, clock: Callable[[], int]
) -> Result:
    """Fill a replica with the faults' reports, refine it, and measure."""
    store = Store.open(folder / "store.db")
    replica = Replica(store, types=("faults",), clock=clock)
    ids = fill(replica, given)
    engine = Engine(model)
    settings = Settings(scale="normalised", threshold=threshold, after=1, max_records=budget, max_bytes=2**30)
    refiner = Refiner(
        replica,
        engine,
        author=bytes(KEY.verify_key),
        sign=lambda experience: records.sign(experience, lambda digest: KEY.sign(digest).signature),
        clock=clock,
        settings=settings,
    )
    before = recall(replica, given, ids), len(replica), size(replica)
    started = time.monotonic()
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        outcome = await refiner.refine()
        nursery.cancel_scope.cancel()
    seconds = time.monotonic() - started
    result = Result(
        before[0], recall(replica, given, ids), before[1], len(replica), budget, before[2], size(replica), outcome, seconds
    )
    store.close()
    return result


def size(replica: Replica) -> int:
    """Return the bytes of the active experiences' texts."""
    return sum(len(replica.experience(key).text.encode()) for key in replica.active("faults"))


def main() -> int:
    """Run it and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--paraphrases", type=int, default=20)
    parser.add_argument("--budget", type=int, help="active experiences; by default a tenth of all")
    parser.add_argument("--threshold", type=float, action="append", help="may be given several times; 0.6 by default")
    parser.add_argument("--model", default="fake", help='"fake", "default", or a GGUF file')
    parser.add_argument("--json", action="store_true", help="print one line of JSON for each threshold")
    args = parser.parse_args()
    given = faults(args.faults, args.paraphrases)
    budget = args.budget or args.faults * args.paraphrases // 10
    for threshold in args.threshold or [0.6]:
        model = open_model(None if args.model == "default" else args.model)
        with tempfile.TemporaryDirectory() as folder:

            async def run(model: Model = model, folder: str = folder, threshold: float = threshold) -> Result:
                return await saturate(
                    given,
                    model,
                    budget=budget,
                    threshold=threshold,
                    folder=Path(folder),
                    clock=lambda: time.time_ns() // 1_000_000,
                )

            result = trio.run(run)
        model.close()
        if args.json:
            fields = {name: getattr(result, name) for name in Result.__slots__ if name != "outcome"}
            fields["outcome"] = {name: getattr(result.outcome, name) for name in Outcome.__slots__}
            print(json.dumps({"threshold": threshold} | fields))
        else:
            print(f"threshold {threshold}: {result}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
