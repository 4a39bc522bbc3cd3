"""How many texts that are all different are taken as alike, by threshold: what refinement must not blend.

    python -m benchmarks.thresholds --data DIR

Counts the pairs of GSM8K's problems, SciFact's abstracts and Cranfield's abstracts that reach a threshold, and those that
refinement would still put into one group (:func:`espeer.lifecycle.refine.may_join`).
"""

import argparse
import sys

from benchmarks import data, report
from espeer.bm25 import BM25Index
from espeer.lifecycle.refine import Claim, may_join
from espeer.sim.experiments import retrieval

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def counts(texts: dict[str, str]) -> list[tuple[int, int]]:
    """Return for each threshold how many pairs reach it, and how many of them may be put into one group."""
    index = BM25Index()
    for key, text in texts.items():
        index.add(key, text)
    pairs = [
        (similarity, may_join(Claim.of(texts[key]), Claim.of(texts[other])))
        for key in texts
        for other, similarity in index.neighbours(key, THRESHOLDS[0])
        if key < other
    ]
    return [
        (sum(similarity >= least for similarity, _ in pairs), sum(joins for similarity, joins in pairs if similarity >= least))
        for least in THRESHOLDS
    ]


def main() -> int:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data.add_option(parser)
    folder = parser.parse_args().data
    if folder is None:
        parser.error("this needs texts: give --data or set ESPEER_DATA")
    collections = {"GSM8K": dict(zip(map(str, range(10**6)), data.corpus(folder).documents, strict=False))}
    for name in ("SciFact", "Cranfield"):
        found = retrieval.load(folder, name.casefold())
        collections[name] = {key: f"{found.titles[key]} {text}" for key, text in found.texts.items()}
    rows = []
    for name, texts in collections.items():
        rows.append([f"{name}, {len(texts):,} texts", *(f"{alike:,} / {joined:,}" for alike, joined in counts(texts))])
    print(report.table(["alike / may be joined", *map(str, THRESHOLDS)], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
