import pytest

from espeer.keys import STAMP_SIZE, KeySet, key_of
from espeer.p2p import gone as gone_module
from espeer.p2p.gone import Gone, compared

KEYS = [key_of(number, number.to_bytes(32, "big")) for number in range(20)]


def test_only_so_much_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gone_module, "MAX_GONE", 6)
    gone = Gone(most=10)
    gone.add("a", "biology", KEYS[:8])
    gone.add("b", "biology", KEYS[8:12])
    assert [len(gone.keys(peer, "biology")) for peer in "abc"] == [6, 4, 0]
    gone.add("c", "networking", KEYS[12:14])  # the eleventh and twelfth: what was noted of a goes
    assert [len(gone.keys(peer, "biology")) for peer in "abc"] == [0, 4, 0]
    gone.add("c", "networking", KEYS[12:14])
    assert gone.keys("c", "networking") == KEYS[12:14]


def test_what_is_forgotten_makes_room() -> None:
    gone = Gone(most=4)
    gone.add("a", "biology", KEYS[:4])
    gone.discard("a", "biology", [key[STAMP_SIZE:] for key in KEYS[2:10]])
    gone.discard("b", "biology", [KEYS[0][STAMP_SIZE:]])
    gone.add("b", "biology", KEYS[4:6])
    assert [gone.keys(peer, "biology") for peer in "ab"] == [KEYS[:2], KEYS[4:6]]


def test_keys_are_compared_with_what_is_gone_there_and_without_what_is_gone_here() -> None:
    keys = KeySet(KEYS[:10]).snapshot()
    made = compared(keys, theirs=KEYS[9:12], ours=KEYS[5:10]).snapshot()
    assert [made[place] for place in range(len(made))] == sorted([*KEYS[:5], *KEYS[9:12]])
    assert len(keys) == 10
