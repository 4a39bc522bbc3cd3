from espeer.p2p.room import GRACE, SHARE_AT_ONCE, Room


def test_one_peer_has_only_so_many_places() -> None:
    room = Room[str](most=4, most_per_peer=2)
    assert [room.enter(guest, "a", 0.0) for guest in ("1", "2", "3")] == [[], [], None]
    room.leave("1", 1.0)
    room.leave("1", 1.0)
    assert room.enter("3", "a", 1.0) == []
    assert len(room) == 2


def test_who_was_spoken_with_longest_has_to_go_for_who_was_not() -> None:
    room = Room[str](most=3, most_per_peer=2)
    for number, guest in enumerate(("a", "b", "c")):
        room.enter(guest, guest, float(number))
    assert room.enter("d", "d", GRACE - 0.1) is None, "nobody has had time to end"
    assert room.enter("d", "d", GRACE) == ["a"]
    assert room.enter("a", "a", GRACE + 1) == ["b"]
    room.leave("b", GRACE + 1)  # it had to go already
    assert len(room) == 3


def test_peers_that_hold_all_places_keep_out_nobody_who_comes_now_and_then() -> None:
    room = Room[str](most=4, most_per_peer=2)
    now = 0.0
    for _ in range(100):
        for greedy in "ab":
            for place in "12":
                room.enter(f"{greedy}{place} {now}", greedy, now)
        now += GRACE
        assert room.enter(f"honest {now}", "honest", now) is not None
        room.leave(f"honest {now}", now + 0.1)
        now += SHARE_AT_ONCE / 20


def test_among_equals_who_is_there_stays() -> None:
    room = Room[str](most=1, most_per_peer=2)
    room.enter("1", "a", 0.0)
    assert room.enter("2", "a", 10.0) is None
