"""One door: verified records in, once; recall out."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from espeer import records
from espeer import replica as replica_module
from espeer.errors import InputError, StoreFull, TypeNotHeld
from espeer.interaction import Interaction
from espeer.keys import KeySet, Offer, key_of
from espeer.records import Retraction, SignedRecord, encode
from espeer.replica import Replica
from espeer.store import Store

Make = Callable[..., SignedRecord]
OTHER = SigningKey(bytes(32))
KEY = SigningKey(bytes(range(32)))  # of the fixture `experience`


def open_replica(path: Path, *types: str) -> Replica:
    return Replica(Store.open(path / "r.db"), types=types or ("pumps", "valves"), clock=lambda: 1)


def retract(signed: SignedRecord, key: SigningKey) -> SignedRecord:
    value = Retraction(signed.record.type, signed.id, signed.record.created, bytes(key.verify_key))
    return records.sign(value, lambda digest: key.sign(digest).signature)


def test_adding_twice_is_adding_once(tmp_path: Path, experience: Make) -> None:
    replica = open_replica(tmp_path)
    signed = experience("E42 means air in the line.")
    assert replica.add([signed, signed], via="own") == [signed]
    assert replica.add([signed], via="gossip") == []
    assert len(replica) == 1
    assert replica.show(signed.id.hex()).via == "own"


def test_a_type_that_is_not_held_keeps_the_whole_batch_out(tmp_path: Path, experience: Make) -> None:
    replica = open_replica(tmp_path)
    with pytest.raises(TypeNotHeld, match="does not hold the type 'doors'; it holds pumps, valves"):
        replica.add([experience("fine"), experience("not held", type="doors")], via="gossip")
    assert len(replica.keys("pumps")) == 0


def test_the_index_is_rebuilt_from_the_store(tmp_path: Path, experience: Make) -> None:
    signed = experience("E42 means air in the line.")
    open_replica(tmp_path).add([signed], via="own")
    assert [hit.id for hit in open_replica(tmp_path).recall("What is E42?", 3)] == [signed.id.hex()]
    assert open_replica(tmp_path, "valves").recall("What is E42?", 3) == []


def test_the_only_experience_is_recalled_and_chance_words_are_not(tmp_path: Path, experience: Make) -> None:
    replica = open_replica(tmp_path)
    signed = experience("When the Orla-2 dryer shows E42, press the lid switch for 5 seconds.")
    replica.add([signed], via="own")
    (hit,) = replica.recall("The Orla-2 shows E42 again. What do I do?", 3)
    assert hit.id == signed.id.hex()
    assert hit.coverage > 0.5
    assert replica.recall("What is the capital of France when it rains?", 3) == []


def test_recall_in_a_small_replica_ranks_by_what_is_covered(tmp_path: Path, experience: Make) -> None:
    replica = open_replica(tmp_path)
    right = experience("Orla-2 with E42: purge the line.")
    replica.add([right, experience("Orla-2 with K7: replace the felt."), experience("Orla-2 is a dryer.")], via="own")
    assert replica.recall("Orla-2 shows E42", 3)[0].id == right.id.hex()


def test_recall_by_type(tmp_path: Path, experience: Make) -> None:
    replica = open_replica(tmp_path)
    pump, valve = experience("E42 on the pump."), experience("E42 on the valve.", type="valves")
    replica.add([pump, valve], via="own")
    assert [hit.id for hit in replica.recall("E42", 5, types=["valves"])] == [valve.id.hex()]
    assert {hit.id for hit in replica.recall("E42", 5)} == {pump.id.hex(), valve.id.hex()}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("together", [True, False])
def test_a_retraction_counts_in_any_order(
    tmp_path: Path, experience: Make, key: SigningKey, order: Sequence[int], *, together: bool
) -> None:
    replica = open_replica(tmp_path)
    signed = experience("E42 means nothing.")
    both = [signed, retract(signed, key)]
    for batch in [[both[i] for i in order]] if together else [[both[i]] for i in order]:
        replica.add(batch, via="sync")
    assert replica.recall("E42", 3) == []
    assert replica.show(signed.id.hex()).state == "retracted"
    assert set(replica.keys("pumps").ids()) == {record.id for record in both}
    assert open_replica(tmp_path).recall("E42", 3) == []


def test_only_the_author_can_retract(tmp_path: Path, experience: Make) -> None:
    replica = open_replica(tmp_path)
    signed = experience("E42 means air in the line.")
    replica.add([retract(signed, OTHER), signed], via="gossip")
    assert replica.show(signed.id.hex()).state == "active"
    replica.add([retract(signed, OTHER)], via="gossip")
    assert len(replica.recall("E42", 3)) == 1


@given(order=st.permutations(range(6)))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_the_same_records_give_the_same_view_in_any_order(order: list[int], experience: Make, key: SigningKey) -> None:
    made = [experience(f"Fault F{number}: purge.") for number in range(3)]
    everything = [*made, retract(made[0], key), retract(made[1], OTHER), retract(made[2], key)]
    replica = Replica(Store.open(Path(":memory:")), types=["pumps"], clock=lambda: 1)
    for place in order:
        replica.add([everything[place]], via="sync")
    assert set(replica.keys("pumps").ids()) == {record.id for record in everything}
    assert [held.id for held in replica.experiences()] == [made[1].id.hex()]


def test_others_are_offered_what_is_there_but_nothing_that_was_taken_back(
    tmp_path: Path, experience: Make, key: SigningKey
) -> None:
    replica = open_replica(tmp_path)
    kept, taken_back = experience("E42 means air in the line."), experience("E42 means nothing.")
    retraction = retract(taken_back, key)
    everything = [kept, taken_back, retraction]
    replica.add(everything, via="own")
    ids = [signed.id for signed in everything]
    assert replica.unknown([bytes(32), *ids]) == [bytes(32)]
    offer = replica.offer("pumps", [*ids, bytes(32)])
    assert offer == Offer([encode(kept), encode(retraction)], [key_of(taken_back.record.created, taken_back.id)])
    assert replica.withheld("pumps", [*ids, bytes(32)]) == offer.gone
    assert replica.offer("valves", ids) == Offer([], [])
    assert replica.withheld("valves", ids) == []
    for view in (replica, open_replica(tmp_path)):
        assert list(view.keys("pumps").ids()) == list(
            KeySet(key_of(signed.record.created, signed.id) for signed in everything).snapshot().ids()
        )
        assert len(view.keys("valves")) == 0


def test_only_so_many_records_of_others_are_known(tmp_path: Path, experience: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica_module, "MAX_KNOWN", 2)
    replica = open_replica(tmp_path)
    replica.add([experience(f"Fault F{number}: purge.") for number in range(2)], via="sync")
    for via in ("gossip", "sync", "submit"):
        with pytest.raises(StoreFull, match="takes no more"):
            replica.add([experience("E42 means air in the line.")], via=via)
    assert len(replica) == 2
    assert len(replica.add([experience("E42 means air in the line.")], via="own")) == 1


def test_records_are_shown_by_the_beginning_of_their_id(tmp_path: Path, experience: Make) -> None:
    replica = open_replica(tmp_path)
    signed = experience("E42 means air in the line.")
    replica.add([signed], via="gossip")
    assert replica.show(signed.id.hex()[:6].upper()).experience == signed.record
    for wrong in ("", "zz", "%", "ff" * 40):
        with pytest.raises(InputError, match="no experience has an id that begins with"):
            replica.show(wrong)


def test_the_likeliest_are_what_answers_used_and_what_is_new_in_turn(tmp_path: Path, experience: Make) -> None:
    replica = open_replica(tmp_path)
    signed = [experience(f"pump {name}") for name in "abcdef"]
    replica.add(signed, via="own")
    a, b, c, *_, f = signed

    def answered(*used: SignedRecord) -> None:
        interaction = Interaction(0, 1, "Which?", "That.", source="answer")
        replica.store.add_interaction(interaction, ready=False, used=[one.id for one in used])

    answered(a, b)
    answered(b)
    answered(c, experience("somebody else told this"))
    found = [held.experience.text for held in replica.likely(100) if held.experience]
    assert found == ["pump b", "pump f", "pump c", "pump e", "pump a", "pump d"]
    assert [held.id for held in replica.likely(2)] == [b.id.hex(), f.id.hex()]
    replica.add([retract(b, KEY)], via="own")
    assert b.id.hex() not in {held.id for held in replica.likely(100)}


def test_what_was_used_long_ago_is_not_likely_any_more(
    tmp_path: Path, experience: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica_module, "LATELY", 2)
    replica = open_replica(tmp_path)
    old, new = experience("pump a"), experience("pump b")
    replica.add([old, new], via="own")
    for used in ([old.id], [], []):
        replica.store.add_interaction(Interaction(0, 1, "Which?", "That.", source="answer"), ready=False, used=used)
    assert [held.id for held in replica.likely(2)] == [new.id.hex(), old.id.hex()]
