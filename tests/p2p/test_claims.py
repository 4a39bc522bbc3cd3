import pytest

from espeer.p2p import claims as claims_module
from espeer.p2p.claims import CLAIM_SECONDS, LONGEST, Claims

ONE, TWO, THREE = (number.to_bytes(32, "big") for number in range(3))


def test_what_one_is_asked_for_another_is_not_but_for_so_long_only() -> None:
    claims = Claims()
    assert claims.take("slow", [ONE, TWO], 0.0) == [ONE, TWO]
    assert claims.take("quick", [ONE, THREE], 1.0) == [THREE]
    assert claims.take("quick", [ONE], CLAIM_SECONDS) == [ONE]
    assert claims.release("slow", [ONE, TWO], {ONE, TWO}) == set(), "what it lost is not its to give back"
    assert len(claims) == 2
    assert claims.release("quick", [ONE, THREE], ()) == set()
    assert len(claims) == 0


def test_who_is_not_trusted_keeps_nothing_from_others() -> None:
    claims = Claims()
    assert claims.take("slow", [ONE], 0.0, seconds=0.0) == [ONE]
    assert claims.take("quick", [ONE], 0.0) == [ONE]


def test_who_was_passed_over_is_known_when_it_is_needed() -> None:
    claims = Claims()
    claims.take("a", [ONE, TWO], 0.0)
    assert claims.take("b", [ONE], 1.0) == claims.take("c", [TWO], 1.0) == []
    assert claims.release("a", [ONE, TWO], {TWO}) == {"c"}


def test_who_takes_over_and_fails_leaves_it_to_the_others() -> None:
    claims = Claims()
    claims.take("a", [ONE], 0.0)
    claims.take("b", [ONE], 1.0)
    claims.take("c", [ONE], CLAIM_SECONDS)
    assert claims.release("c", [ONE], {ONE}) == {"a", "b"}


def test_what_is_put_off_is_asked_for_when_its_time_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims_module, "MAX_PUT_OFF", 2)
    claims = Claims()
    claims.put_off(ONE, 60.0, 0.0)
    claims.put_off(TWO, 1e9, 0.0)
    claims.put_off(THREE, 60.0, 0.0)  # there is no room
    assert claims.take("a", [ONE, TWO, THREE], 59.0) == [THREE]
    claims.release("a", [THREE], ())
    claims.put_off(THREE, 100.0, 61.0)  # now there is
    assert claims.take("a", [ONE, TWO, THREE], 62.0) == [ONE]
    assert claims.take("a", [TWO, THREE], LONGEST) == [TWO, THREE]
