"""The data sets that experiments ask from: where each is had, under which licence, and its rows.

None is part of espeer. The rows have the form that docs/scenarios.md tells; their order and ids follow from the archive alone.
"""

import csv
import io
import json
import random
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from espeer.errors import InputError

_MOST_MEMBER: Final = 32 * 1024 * 1024
"""The most bytes of one file in an archive."""
_MMLU_MEMBER: Final = re.compile(r"data/(dev|val|test)/([a-z_]+)_\1\.csv")
_MMLU_SPLITS: Final = ("dev", "val", "test")
_MMLU_FIELDS: Final = 6
_SCIQ_SPLITS: Final = ("train", "valid", "test")

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set.

    :ivar file: what its rows are kept as.
    :ivar urls: where its archive is had: its maker's place, and others with the same file.
    :ivar sha256: of the archive, hexadecimal.
    :ivar size: bytes of the archive; no more are taken.
    :ivar licence: in a line.
    :ivar rows: how many there are.
    :ivar read: gives them from the archive.
    """

    name: str
    file: str
    urls: tuple[str, ...]
    sha256: str
    size: int
    licence: str
    rows: int
    read: Callable[[Path], Iterator[Row]]


def mmlu(archive: Path) -> Iterator[Row]:
    """Read MMLU's data.tar: a CSV file for each split and subject; question, four choices, and the right one's letter."""
    found: dict[tuple[int, str], bytes] = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            match = _MMLU_MEMBER.fullmatch(member.name)
            file = tar.extractfile(member) if match and member.isfile() and member.size <= _MOST_MEMBER else None
            if match and file:
                found[_MMLU_SPLITS.index(match[1]), match[2]] = file.read()
    for (place, subject), data in sorted(found.items()):
        split = _MMLU_SPLITS[place]
        for number, fields in enumerate(csv.reader(io.StringIO(data.decode(), newline=""))):
            if len(fields) != _MMLU_FIELDS or fields[-1] not in "ABCD":
                raise InputError(f"{archive}: line {number + 1} of {subject}, {split}, is no question")
            question, *choices, answer = fields
            yield {
                "id": f"mmlu/{split}/{subject}/{number}",
                "subject": subject,
                "question": question,
                "choices": choices,
                "answer_index": "ABCD".index(answer),
                "split": split,
            }


def sciq(archive: Path) -> Iterator[Row]:
    """Read SciQ's SciQ.zip: a list in JSON for each split. The right answer stands apart there, so the choices are shuffled."""
    with zipfile.ZipFile(archive) as zipped:
        for split in _SCIQ_SPLITS:
            for number, told in enumerate(json.loads(_member(zipped, f"{split}.json"))):
                written = [told["correct_answer"], *(told[f"distractor{one}"] for one in (1, 2, 3))]
                order = list(range(len(written)))  # some wrong answers are the same as the right one
                random.Random(f"sciq/{split}/{number}").shuffle(order)  # noqa: S311 - nothing secret
                yield {
                    "id": f"sciq/{split}/{number}",
                    "subject": "science",
                    "question": told["question"],
                    "choices": [written[place] for place in order],
                    "answer_index": order.index(0),
                    "split": split,
                    "support": told["support"],
                }


def scifact(archive: Path) -> Iterator[Row]:
    """Read SciFact as BEIR gives it: documents and queries as lines of JSON, and who answers which as tables."""
    with zipfile.ZipFile(archive) as zipped:
        for told in _lines(zipped, "corpus.jsonl"):
            yield {"type": "doc", "id": told["_id"], "title": told["title"], "text": told["text"]}
        judged = {split: list(_judgements(_member(zipped, f"{split}.tsv").decode())) for split in ("test", "train")}
        queries = list(_lines(zipped, "queries.jsonl"))
        for split in ("train", "test"):
            named = {query for query, _, _ in judged[split]}
            for told in queries:
                if told["_id"] in named:
                    yield {"type": "query", "id": told["_id"], "text": told["text"], "split": split}
        for lines in judged.values():
            for query, document, score in lines:
                yield {"type": "qrel", "query": query, "doc": document, "score": score}


def _judgements(table: str) -> Iterator[tuple[str, str, int]]:
    for line in table.splitlines()[1:]:
        query, document, score = line.split("\t")
        yield query, document, int(score)


def _lines(zipped: zipfile.ZipFile, name: str) -> Iterator[Any]:
    yield from map(json.loads, _member(zipped, name).decode().splitlines())


def _member(zipped: zipfile.ZipFile, name: str) -> bytes:
    """Return the file of that name, in whatever folder of the archive."""
    for info in zipped.infolist():
        folder, _, last = info.filename.rpartition("/")
        if last == name and not folder.startswith("__MACOSX") and info.file_size <= _MOST_MEMBER:
            return zipped.read(info)
    raise InputError(f"{zipped.filename} holds no {name}")


DATA_SETS: Final = {
    "mmlu": DataSet(
        "mmlu",
        "mmlu.jsonl.gz",
        (
            "https://people.eecs.berkeley.edu/~hendrycks/data.tar",
            "https://huggingface.co/datasets/cais/mmlu/resolve/main/data.tar",
        ),
        "78a804365a59028188fb19bd1adcadc5e0c260b220a9d8b2e33a5ea7d5fbe3b4",
        166_184_960,
        "MMLU, Hendrycks et al. 2021 (arXiv 2009.03300): MIT",
        15_858,
        mmlu,
    ),
    "sciq": DataSet(
        "sciq",
        "sciq.jsonl.gz",
        (
            "https://ai2-public-datasets.s3.amazonaws.com/sciq/SciQ.zip",
            "https://s3-us-west-2.amazonaws.com/ai2-website/data/SciQ.zip",
        ),
        "7f3312f6ac6b09970b32942d106a8c44ec0dad46a0369f17d635aff8e348a87c",
        4_000_000,
        "SciQ, Welbl et al. 2017 (arXiv 1707.06209): CC BY-NC 3.0, not for commercial use",
        13_679,
        sciq,
    ),
    "scifact": DataSet(
        "scifact",
        "retrieval_scifact.jsonl.gz",
        ("https://public.ukp.informatik.tu-darmstadt.de/thakur/BEIR/datasets/scifact.zip",),
        "536e14446a0ba56ed1398ab1055f39fe852686ecad24a6306c80c490fa8e0165",
        2_816_079,
        "SciFact, Wadden et al. 2020 (arXiv 2004.14974), as in BEIR: claims CC BY 4.0, abstracts ODC-By 1.0",
        7_550,
        scifact,
    ),
}
"""By name."""
