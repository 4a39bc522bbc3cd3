"""The index against rank_bm25 itself, after any sequence of additions and removals."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rank_bm25 import BM25Okapi

from espeer.bm25 import BM25Index

words = st.sampled_from(["pump", "valve", "seal", "E42", "E43", "leak", "bay", "motor", "reset", "eth0", "7", "Ölfilter"])
texts = st.lists(words, max_size=8).map(" ".join)
steps = st.lists(st.tuples(st.sampled_from("abcdef"), st.none() | texts), max_size=20)


def okapi_scores(documents: dict[str, str], query: str) -> dict[str, float]:
    corpus = [BM25Index.tokenize(text) for text in documents.values()]
    scores = BM25Okapi(corpus).get_scores(BM25Index.tokenize(query))
    return dict(zip(documents, scores, strict=True))


@given(steps, texts)
@settings(max_examples=500, deadline=None)
def test_scores_are_those_of_rank_bm25_after_any_sequence(sequence: list[tuple[str, str | None]], query: str) -> None:
    index = BM25Index()
    documents: dict[str, str] = {}
    for key, text in sequence:
        if text is None:
            index.remove(key)
            documents.pop(key, None)
        else:
            index.add(key, text)
            documents[key] = text
    assert len(index) == len(documents)
    scores = index.scores(query)
    if not any(BM25Index.tokenize(text) for text in documents.values()):
        assert scores == {}  # rank_bm25 divides by zero here
        return
    expected = okapi_scores(documents, query)
    for key, score in expected.items():
        assert math.isclose(scores.get(key, 0.0), score, abs_tol=1e-9)
    assert set(scores) == {key for key, text in documents.items() if set(index.tokenize(text)) & set(index.tokenize(query))}
    ranked = index.top_k(query, 3)
    assert ranked == sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:3]


def test_a_document_of_the_same_key_is_replaced() -> None:
    index = BM25Index()
    index.add("a", "pump")
    index.add("a", "valve")
    assert index.scores("pump") == {}
    assert set(index.scores("valve")) == {"a"}


def test_codes_and_unicode_are_terms_and_stop_words_are_not() -> None:
    assert BM25Index.tokenize("The E42 on eth0, at 4 °C: ÖLFILTER") == ["e42", "eth0", "4", "c", "ölfilter"]


def test_coverage_is_a_share_also_in_a_corpus_of_one() -> None:
    index = BM25Index()
    index.add("a", "the pump shows E42")
    assert index.coverage("what E42 on the pump needs", "a") == pytest.approx(2 / 3)
    assert index.coverage("pump E42", "a") == pytest.approx(1)
    assert index.coverage("of the", "a") == 0
