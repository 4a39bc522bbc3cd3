"""The index against rank_bm25 itself, after any sequence of additions and removals; compiled and with numpy alone."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rank_bm25 import BM25Okapi

from espeer import bm25, scoring
from espeer.bm25 import BM25Index, Match
from espeer.tokens import Tokenizer

words = st.sampled_from(
    ["pump", "pumps", "valve", "seal", "E42", "E43", "leak", "bay", "motor", "reset", "eth0", "7", "Ölfilter"]
)
texts = st.lists(words, max_size=8).map(" ".join)
steps = st.lists(st.tuples(st.sampled_from("abcdef"), st.none() | texts), max_size=20)
many = st.lists(texts.filter(str.split), min_size=bm25.SMALL_CORPUS, max_size=25)
WORDS = Tokenizer(language=None, stop_words=frozenset())


@pytest.fixture(params=["compiled", "numpy"], autouse=True, scope="module")
def engine(request: pytest.FixtureRequest) -> Iterator[None]:
    """All of it twice, with either of the two inner loops."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "numpy":
            patch.setattr(bm25, "accumulate", scoring.accumulate_with_numpy)
            patch.setattr(bm25, "count_hits", scoring.count_with_numpy)
        else:
            assert scoring.accumulate is not scoring.accumulate_with_numpy, "the C extension was not built"
        yield


def okapi_scores(documents: dict[str, str], query: str, **settings: float) -> dict[str, float]:
    corpus = [BM25Index.tokenize(text) for text in documents.values()]
    scores = BM25Okapi(corpus, **settings).get_scores(BM25Index.tokenize(query))
    return dict(zip(documents, scores, strict=True))


def built(sequence: list[tuple[str, str | None]], **settings: float) -> tuple[BM25Index, dict[str, str]]:
    index = BM25Index(**settings)
    documents: dict[str, str] = {}
    for key, text in sequence:
        if text is None:
            index.remove(key)
            documents.pop(key, None)
        else:
            index.add(key, text)
            documents[key] = text
    return index, documents


@given(steps, texts, st.floats(0.1, 3), st.floats(0, 0.99))  # b = 1 is 0/0 in rank_bm25 where a text is empty
@settings(max_examples=1500, deadline=None)
def test_scores_are_those_of_rank_bm25_after_any_sequence(
    sequence: list[tuple[str, str | None]], query: str, k1: float, b: float
) -> None:
    index, documents = built(sequence, k1=k1, b=b)
    assert len(index) == len(documents)
    scores = index.scores(query)
    if not any(BM25Index.tokenize(text) for text in documents.values()):
        assert scores == {}  # rank_bm25 divides by zero here
        return
    for key, score in okapi_scores(documents, query, k1=k1, b=b).items():
        assert math.isclose(scores.get(key, 0.0), score, abs_tol=1e-9)
    assert set(scores) == {key for key, text in documents.items() if set(index.tokenize(text)) & set(index.tokenize(query))}
    ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    for k in (0, 1, 3, 10):
        assert index.top_k(query, k) == ranked[:k]
        assert [(match.key, match.score) for match in index.search(query, k)] == ranked[:k]


def test_scores_are_those_of_rank_bm25_in_a_corpus_that_outgrows_its_room_and_churns() -> None:
    random = np.random.default_rng(7)
    vocabulary = [f"w{number}" for number in range(3000)]
    documents: dict[str, str] = {}
    index = BM25Index()
    for step in range(6000):
        key = f"k{random.integers(4000)}"
        if random.random() < 0.3:
            index.remove(key)
            documents.pop(key, None)
        else:
            documents[key] = " ".join(vocabulary[min(int(random.zipf(1.3)), 2999)] for _ in range(random.integers(1, 40)))
            index.add(key, documents[key])
        if step % 1500 == 1499:
            query = " ".join(vocabulary[number] for number in (1, 1, 2, 3, 7, 50, 800, 2999))
            expected = okapi_scores(documents, query)
            scores = index.scores(query)
            assert max(abs(scores.get(key, 0.0) - score) for key, score in expected.items()) < 1e-9
            best = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
            assert index.top_k(query, 25) == best[:25]


@given(st.lists(texts, min_size=1, max_size=60))
@settings(max_examples=50, deadline=None)
def test_ties_are_broken_by_key_however_many_there_are(given_texts: list[str]) -> None:
    index = BM25Index()
    for number, text in enumerate(given_texts * 20):
        index.add(f"{number * 7919 % 100_003:06}", text)
    ranked = sorted(index.scores("pump E42 leak").items(), key=lambda item: (-item[1], item[0]))
    for k in (1, 5, 40, 5000):
        assert index.top_k("pump E42 leak", k) == ranked[:k]


def test_a_document_of_the_same_key_is_replaced() -> None:
    index = BM25Index()
    index.add("a", "pump")
    index.add("a", "valve")
    assert index.scores("pump") == {}
    assert set(index.scores("valve")) == {"a"}
    assert "a" in index
    assert index.keys() == ["a"]


def test_the_tokenizer_is_configuration() -> None:
    index = BM25Index(tokenizer=WORDS)
    index.add("a", "the pumps")
    assert index.tokenize("the pumps") == ["the", "pumps"]
    assert set(index.scores("the")) == {"a"}
    assert index.scores("pump") == {}


def test_search_tells_what_share_of_the_query_is_covered_also_in_a_corpus_of_one() -> None:
    index = BM25Index()
    index.add("a", "the pump shows E42")
    (match,) = index.search("what E42 on the pump needs", 5)
    assert match.coverage == pytest.approx(2 / 3)
    assert index.search("pump E42 E42", 5)[0].coverage == 1
    assert index.search("of the", 5) == []
    assert index.search("what E42 on the pump needs", 5, min_coverage=0.7) == []
    assert len(index.search("what E42 on the pump needs", 5, min_coverage=0.6)) == 1


@given(steps, texts, st.sampled_from(["x", "y", "z"]), st.floats(0, 1))
@settings(max_examples=300, deadline=None)
def test_search_by_label_and_coverage_leaves_out_the_others_and_nothing_else(
    sequence: list[tuple[str, str | None]], query: str, label: str, least: float
) -> None:
    index, documents = BM25Index(), {}
    for key, text in sequence:
        index.remove(key)
        documents.pop(key, None)
        if text is not None:
            index.add(key, text, label="xy"[len(text) % 2])
            documents[key] = text
    terms = set(index.tokenize(query))

    def share(match: Match) -> float:
        return len(terms & set(index.tokenize(documents[match.key]))) / len(terms)

    everything = index.search(query, 100)
    assert all(match.coverage == pytest.approx(share(match)) for match in everything)
    wanted = [m for m in everything if m.coverage >= least and "xy"[len(documents[m.key]) % 2] == label]
    assert index.search(query, 100, labels=None if label is None else [label], min_coverage=least) == wanted
    assert sorted(index.keys(label=label)) == sorted(key for key, text in documents.items() if "xy"[len(text) % 2] == label)


@given(many, st.floats(0.1, 1.2))
@settings(max_examples=200, deadline=None)
def test_neighbours_are_what_the_scores_of_one_document_for_the_other_say(given_texts: list[str], least: float) -> None:
    """Against the definition, with rank_bm25's own scores (where no term is so common that its weight is negative)."""
    documents = {f"{number:02}": f"{text} own{number}" for number, text in enumerate(given_texts)}
    index, _ = built(list(documents.items()))
    score = {key: okapi_scores(documents, text) for key, text in documents.items()}
    floor_is_positive = index._common() >= 0  # else a term in most documents would make texts less alike
    for a in documents:
        for scale, bound in (("normalised", min(least, 1.0)), ("raw", least * 10)):
            found = dict(index.neighbours(a, bound, scale=scale))  # type: ignore[arg-type]
            assert a not in found
            if not floor_is_positive:
                continue
            for b in documents.keys() - {a}:
                if scale == "raw":
                    expected = min(score[a][b], score[b][a])
                else:
                    expected = min(score[a][b] / score[a][a], score[b][a] / score[b][b], 1.0)
                if expected > bound + 1e-9:
                    assert found[b] == pytest.approx(expected)
                elif expected < bound - 1e-9:
                    assert b not in found


@given(many)
@settings(max_examples=100, deadline=None)
def test_neighbours_are_mutual_and_equal_texts_are_wholly_alike(given_texts: list[str]) -> None:
    index, documents = built([(f"{number:02}", text) for number, text in enumerate(given_texts)])
    pairs = {(a, b): value for a in documents for b, value in index.neighbours(a, 0.3)}
    for (a, b), value in pairs.items():
        assert pairs[b, a] == pytest.approx(value)
        assert 0.3 <= value <= 1
    for key in documents:
        everything = index.neighbours(key, 0.3)
        for k in (1, 2, 5):
            assert index.neighbours(key, 0.3, k=k) == everything[:k]


@given(many)
@settings(max_examples=100, deadline=None)
def test_equal_texts_are_found_at_a_threshold_of_one_however_their_sums_are_rounded(given_texts: list[str]) -> None:
    texts = [f"{text} own{number}" for number, text in enumerate(given_texts)] * 2
    index, _ = built([(f"{number:02}", text) for number, text in enumerate(texts)])
    if index._common() >= 0:  # else a term in most documents would make texts less alike
        for number in range(len(given_texts)):
            assert f"{number + len(given_texts):02}" in dict(index.neighbours(f"{number:02}", 1.0))


def test_equal_texts_are_alike_in_a_corpus_too_small_for_idf() -> None:
    index, _ = built([("a", "pump E42 leak"), ("b", "pumps: E42, leaks"), ("c", "valve 7")])
    assert index.neighbours("a", 0.9) == [("b", 1.0)]
    assert index.neighbours("c", 0.1) == []


def test_neighbours_of_one_label_and_of_an_empty_text() -> None:
    index = BM25Index()
    for number in range(20):
        index.add(f"p{number}", f"pump E{number} leaks", label="pumps")
    index.add("q", "pump E3 leaks", label="valves")
    index.add("empty", "of the", label="pumps")
    assert [key for key, _ in index.neighbours("p3", 0.9)] == ["q"]
    assert index.neighbours("p3", 0.9, label="pumps") == []
    assert index.neighbours("empty", 0.1) == []


def test_a_term_counts_up_to_a_bound_in_one_document() -> None:
    index = BM25Index()
    index.add("a", "pump " * (bm25.MAX_OCCURRENCES + 10))
    index.add("b", "valve")
    index.remove("a")
    assert index.scores("pump") == {}


class Clearing:
    """What could pull a list from under the loop, if the loop asked it for its value."""

    def __float__(self) -> float:
        raise AssertionError("no code of Python's is to be called")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"scores": np.zeros(2)}, ValueError),
        ({"scores": np.zeros(6, np.float32)}, ValueError),
        ({"ones": [np.array([3], np.uint32)]}, IndexError),
        ({"ones": [np.array([0], np.uint16)]}, ValueError),
        ({"ones": [b"\0\0\0\0\0"]}, ValueError),
        ({"ones": [None]}, TypeError),
        ({"more": [np.array([7], np.uint32)], "occurrences": [np.array([2], np.uint16)]}, IndexError),
        ({"more": [np.array([1], np.uint32)], "occurrences": [np.array([2, 2], np.uint16)]}, ValueError),
        ({"weights": ["heavy"]}, TypeError),
        ({"weights": [Clearing()]}, TypeError),
        ({"scores": np.array(["a", "b", "c"], object)}, ValueError),
        ({"scores": np.zeros(3, np.int64)}, ValueError),
        ({"scores": np.zeros(6)[::2]}, ValueError),
        ({"weights": [1.0, 2.0]}, ValueError),
    ],
)
def test_the_compiled_loop_refuses_what_does_not_fit(change: dict[str, object], error: type[Exception]) -> None:
    fits = {
        "scores": np.zeros(3),
        "lengths": np.ones(3),
        "flat": 0.5,
        "slope": 0.5,
        "ones": [np.array([0, 2], np.uint32)],
        "more": [b""],
        "occurrences": [b""],
        "weights": [1.0],
    }
    scoring.accumulate(*fits.values())  # type: ignore[arg-type]
    with pytest.raises(error):
        scoring.accumulate(*(fits | change).values())  # type: ignore[arg-type]
