"""Recall from several replicas: how it is put together, and what it does when nobody answers."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from espeer.errors import InputError, StoreError
from espeer.p2p.question import MAX_TYPES, Told
from espeer.p2p.remote import Replies
from espeer.recall import MERGE_SECONDS, Recall, Recalled, merge
from espeer.records import SignedRecord
from espeer.replica import Hit, Replica
from espeer.store import Store
from espeer.tokens import Tokenizer

Make = Callable[..., SignedRecord]


class Others:
    """Other nodes, made of values."""

    def __init__(self, held: Sequence[SignedRecord] = (), *, types: Sequence[str] = (), answering: bool = True) -> None:
        self.types = frozenset(types) or frozenset(signed.record.type for signed in held)
        self.held = list(held)
        self.answering = answering
        self.asked: list[dict[str, Any]] = []

    def types_known(self) -> Sequence[str]:
        return sorted(self.types)

    async def recall(self, query: str, k: int, types: Sequence[str], *, seconds: float, patient: bool) -> Replies:
        self.asked.append({"query": query, "types": tuple(types), "seconds": seconds, "patient": patient})
        if not self.answering:
            await trio.sleep(seconds)
            return Replies((), tuple(types))
        fitting = [signed for signed in self.held if signed.record.type in types][:k]
        return Replies(tuple(Told(one.id, one.record, "them", rank, 9.0) for rank, one in enumerate(fitting)), ())


def replica_of(folder: Path, *held: SignedRecord) -> Replica:
    replica = Replica(Store.open(folder / "r.db"), types=("pumps",), clock=lambda: 1)
    replica.add(held, via="own")
    return replica


def recall_of(replica: Replica | None, others: Others | None, *, ask_peers: bool = False) -> Recall:
    return Recall(replica, others, types=("pumps",), terms=Tokenizer(), seconds=1.0, ask_peers=ask_peers)


def hit(key: str, coverage: float, peer: str | None = None) -> Hit:
    return Hit(key, None, 0.0, coverage, peer)  # type: ignore[arg-type] # the experience plays no part


def test_one_replicas_order_is_left_alone() -> None:
    hits = [hit("a", 0.2), hit("b", 0.9)]
    assert merge([hits, []]) == merge([[], hits]) == hits
    assert merge([]) == []


def test_several_are_ranked_by_coverage_then_rank_then_nearness() -> None:
    here = [hit("a", 0.5), hit("b", 0.9), hit("same", 0.4)]
    there = [hit("c", 0.9, "p"), hit("same", 0.4, "p"), hit("d", 0.5, "p")]
    merged = merge([here, there])
    assert [one.id for one in merged] == ["c", "b", "a", "d", "same"]
    assert merged[-1].peer is None


async def test_a_type_held_here_is_never_asked_for(tmp_path: Path, experience: Make) -> None:
    others = Others([experience("E42 elsewhere", type="pumps")])
    recall = recall_of(replica_of(tmp_path, experience("E42 on the pump")), others, ask_peers=True)
    for type_ in (None, "pumps"):
        found = await recall.recall("E42", 3, type=type_)
        assert [one.peer for one in found.hits] == [None]
    assert others.asked == []


async def test_no_type_named_means_no_peer_is_asked_unless_that_is_wanted(tmp_path: Path, experience: Make) -> None:
    others = Others([experience("E42 on the valve", type="valves")])
    replica = replica_of(tmp_path, experience("E42 on the pump"))
    assert [one.peer for one in (await recall_of(replica, others).recall("E42 valve", 3, type=None)).hits] == [None]
    assert others.asked == []
    found = await recall_of(replica, others, ask_peers=True).recall("E42 valve", 3, type=None)
    assert [(one.peer, one.coverage) for one in found.hits] == [("them", 1.0), (None, 0.5)]
    assert (found.searched, found.unreached) == (("pumps", "valves"), ())
    assert others.asked == [{"query": "E42 valve", "types": ("valves",), "seconds": MERGE_SECONDS, "patient": False}]


async def test_a_named_type_of_others_is_asked_of_them(tmp_path: Path, experience: Make) -> None:
    others = Others([experience("E42 on the valve", type="valves"), experience("Nothing in common.", type="valves")])
    recall = recall_of(replica_of(tmp_path), others)
    recall.check("valves")
    found = await recall.recall("What does E42 mean?", 3, type="valves")
    assert [one.experience.text for one in found.hits] == ["E42 on the valve"], "what does not fit is no hit, whoever says so"
    assert others.asked == [{"query": "What does E42 mean?", "types": ("valves",), "seconds": 1.0, "patient": True}]


async def test_what_is_here_waits_for_a_dead_peer_only_so_long(
    tmp_path: Path, experience: Make, autojump_clock: trio.testing.MockClock
) -> None:
    others = Others(types=["valves"], answering=False)
    recall = recall_of(replica_of(tmp_path, experience("E42 on the pump")), others, ask_peers=True)
    began = trio.current_time()
    found = await recall.recall("E42", 3, type=None)
    assert len(found.hits) == 1
    assert (found.searched, found.unreached) == (("pumps",), ("valves",))
    assert trio.current_time() - began <= MERGE_SECONDS + 0.05


async def test_a_client_without_a_server_says_so_once(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture, experience: Make
) -> None:
    others = Others([experience("E42 on the pump")], answering=False)
    recall = recall_of(None, others)
    for _ in range(3):
        found = await recall.recall("E42", 3, type=None)
        assert found == Recalled((), (), ("pumps",))
        assert found.waited == 1.0
    others.answering = True
    assert len((await recall.recall("E42", 3, type=None)).hits) == 1
    assert [entry.levelname for entry in caplog.records if "answer" in entry.getMessage()].count("WARNING") == 1


async def test_an_unknown_type_is_refused_in_words() -> None:
    with pytest.raises(InputError, match=r"does not hold the type 'doors'; it holds pumps$"):
        recall_of(None, None).check("doors")
    with pytest.raises(InputError, match=r"it holds pumps, and connected ones hold ovens, valves$"):
        recall_of(None, Others(types=["valves", "pumps", "ovens"])).check("doors")


async def test_nothing_asked_for_is_nothing_recalled() -> None:
    others = Others(types=["pumps"])
    assert await recall_of(None, others).recall("E42", 0, type=None) == Recalled()
    assert others.asked == []


async def test_a_broken_store_is_told_as_it_is(tmp_path: Path, experience: Make) -> None:
    replica = replica_of(tmp_path, experience("E42 on the pump"))
    replica.store.close()
    others = Others(types=["valves"], answering=False)
    with trio.fail_after(MERGE_SECONDS), pytest.raises(StoreError):
        await recall_of(replica, others, ask_peers=True).recall("E42", 3, type=None)


async def test_somebody_who_claims_thousands_of_types_does_not_make_us_ask_for_them(tmp_path: Path) -> None:
    others = Others(types=[f"t{number}" for number in range(5000)])
    await recall_of(replica_of(tmp_path), others, ask_peers=True).recall("E42", 3, type=None)
    assert len(others.asked[0]["types"]) == MAX_TYPES
