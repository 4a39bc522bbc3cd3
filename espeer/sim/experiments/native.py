"""LLM-native storage (the paper's open question): experiences as the model's vectors and states, against text.

What a query finds by BM25 over texts, by the vectors that the model itself makes of them, and by both. What a prompt costs, and
what is answered, with experiences read anew from text and with the KV states that the engine keeps of them. And what each of
these would take to keep and to send to a peer.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Final

from espeer.lifecycle.choice import Method
from espeer.llm.embedding import open_embedder
from espeer.llm.engine import Engine
from espeer.llm.model import Note
from espeer.llm.shared import shared_model
from espeer.sim.experiments import corpora
from espeer.sim.experiments.corpora import Source
from espeer.sim.experiments.native_recall import CENTRED, TEXT, Embedding, Searched, search
from espeer.sim.experiments.native_report import Answered, Found, Timed, Weighed, report
from espeer.sim.experiments.native_states import KEPT_MB, Engines, choose, first_token, named, noted, state_bytes
from espeer.sim.experiments.pupil import Pupil
from espeer.sim.experiments.questions import Item
from espeer.sim.experiments.report import Report
from espeer.sim.experiments.settings import Native
from espeer.sim.experiments.work import Work

_WEIGHED: Final = 12
"""Of so many experiences the bytes are counted."""


@dataclass(frozen=True, slots=True)
class _Ask:
    """A question, and how it is asked."""

    seed: int
    item: Item
    k: int
    way: str
    notes: tuple[Note, ...]


async def run(settings: Native, work: Work) -> Report:
    """Do what is not done, and return what all of it came to."""
    sources = [corpora.load(work.data, name, settings.queries) for name in settings.sources]
    spec = settings.model or None
    async with shared_model(spec, kv_cache_mb=0) as anew, shared_model(spec, kv_cache_mb=KEPT_MB) as kept:
        engines = Engines(anew, kept)
        with closing(open_embedder(anew.model)) as embedder:
            embedding = Embedding(work, embedder)
            found = [await _found(settings, work, engines, embedding, source) for source in sources]
            size = embedder.size
        method = await _method(settings, work, anew, sources)
        answered, timed = [], []
        for one in (one for one in found if one.source.items):
            answered += await _answered(settings, work, engines, one, method)
            timed += await _timed(settings, work, engines, one)
        return report(settings, found, answered, timed, model=anew.model.name, method=method, vector_size=size)


async def _found(settings: Native, work: Work, engines: Engines, embedding: Embedding, source: Source) -> Found:
    """Recall every query in every way, from the corpus of each seed, and weigh some experiences."""
    drawn = [corpora.drawn(source, settings.others, seed) for seed in settings.seeds]
    texts = {document: text for corpus in drawn for document, text in corpus.texts.items()}
    documents = await embedding.embed(f"{source.name}: embed experiences", list(texts.values()))
    queries = await embedding.embed(f"{source.name}: embed queries", list(source.queries.values()))
    rows = {document: row for row, document in enumerate(texts)}
    searched = []
    with work.phase(f"{source.name}: recall", len(drawn)) as tick:
        for corpus in drawn:
            vectors = documents.vectors[[rows[document] for document in corpus.texts]]
            searched.append(search(corpus, vectors, queries.vectors, model=engines.anew.model.name))
            tick()
    weighed = []
    some = list(drawn[0].texts.items())[:: max(1, len(drawn[0].texts) // _WEIGHED)][:_WEIGHED]
    with work.phase(f"{source.name}: weigh", len(some)) as tick:
        for document, text in some:
            state = await state_bytes(engines.kept, work, text)
            tokens = engines.anew.model.count(text)
            weighed.append(Weighed(document, tokens, len(text.encode()), searched[0].record_bytes[document], state))
            tick()
    return Found(source, tuple(searched), documents.ms, queries.ms, tuple(weighed))


async def _method(settings: Native, work: Work, engine: Engine, sources: Sequence[Source]) -> Method:
    rest = [item for source in sources for item in source.rest[: settings.questions]]
    return (await Pupil.of(engine, work, rest, support=False)).method


def _notes(searched: Searched, item: Item, way: str, k: int) -> tuple[Note, ...]:
    """Return what is recalled for a question."""
    return noted([searched.corpus.texts[document] for document in searched.rankings[way][item.id][:k]])


async def _answered(settings: Native, work: Work, engines: Engines, found: Found, method: Method) -> list[Answered]:
    """Ask the questions of a source, with what was recalled for them, in every way."""
    asks = []
    for searched in found.searched:
        seed = searched.corpus.seed
        for item in corpora.asked(found.source, settings.questions, seed):
            asks.append(_Ask(seed, item, 0, "plain", ()))
            for k in settings.ks:
                notes = _notes(searched, item, TEXT, k)
                asks += [_Ask(seed, item, k, way, notes) for way in ("text", "states")]
                asks.append(_Ask(seed, item, k, "vector", _notes(searched, item, CENTRED, k)))

    async def ask(one: _Ask) -> Answered:
        engine, name = (engines.kept, "states") if one.way == "states" else (engines.anew, "text")
        key = f"choose {name} by {method} {one.item.id} {named(one.notes)}"
        right = await work.once(key, partial(choose, engine, one.item, one.notes, method))
        return Answered(found.source.name, one.seed, one.item.id, one.k, one.way, right)

    return await work.each(f"{found.source.name}: answer", asks, ask)


async def _timed(settings: Native, work: Work, engines: Engines, found: Found) -> list[Timed]:
    """Time the first token of answers, one after the other: nothing else may be at work."""
    searched = found.searched[0]
    items = corpora.asked(found.source, settings.timed, searched.corpus.seed)
    timed = []
    with work.phase(f"{found.source.name}: time the first token", len(items)) as tick:
        for item in items:
            for k in settings.ks:
                ms = await first_token(engines, work, item, _notes(searched, item, TEXT, k))
                timed.append(Timed(found.source.name, item.id, k, ms))
            tick()
    return timed
