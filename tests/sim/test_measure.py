"""What is counted, from rows made up here."""

from hypothesis import given
from hypothesis import strategies as st

from espeer.sim import measure
from espeer.sim.measure import FIGURES, Cut, Life, Made, Recalled, Row

A, B, C = (bytes([number]) * 32 for number in range(3))


def row(id_: bytes, *, created: int = 1000, received: int = 1000, via: str = "gossip", size: int = 100) -> Row:
    return Row(id_, created, received, via, size)


def life(name: str, *rows: Row, alive: bool = True, up: int = 0) -> Life:
    return Life(name, up, alive, rows)


def test_everything_everywhere_is_delivered() -> None:
    lives = [life("n1", row(A, via="own"), row(B)), life("n2", row(B, via="own"), row(A))]
    found = measure.replication([Made(A, "n1"), Made(B, "n2")], lives)
    assert (found["records"], found["delivery"], found["missed"], found["lost"], found["unequal"]) == (2, 1.0, 0, 0, 0)


def test_a_record_that_one_node_lacks_is_missed_there_and_lost_nowhere() -> None:
    lives = [life("n1", row(A, via="own")), life("n2"), life("n3", row(A))]
    found = measure.replication([Made(A, "n1")], lives)
    assert (found["missed"], found["lost"], found["unequal"], found["delivery"]) == (1, 0, 1, round(2 / 3, 6))


def test_what_nobody_had_but_the_one_that_was_killed_died_with_its_disk() -> None:
    lives = [life("n1", row(A, via="own"), alive=False), life("n2"), life("n3")]
    found = measure.replication([Made(A, "n1")], lives)
    assert (found["died_with_disk"], found["lost"], found["missed"], found["records"]) == (1, 0, 0, 0)


def test_what_had_reached_another_node_is_lost_even_if_that_one_is_dead_too() -> None:
    lives = [life("n1", row(A, via="own"), alive=False), life("n2", row(A), alive=False), life("n3")]
    found = measure.replication([Made(A, "n1")], lives)
    assert (found["died_with_disk"], found["lost"], found["missed"]) == (0, 1, 1)


def test_what_was_there_before_the_start_must_be_everywhere() -> None:
    found = measure.replication([Made(A, ""), Made(B, "")], [life("n1", row(A), row(B)), life("n2", row(B))])
    assert (found["records"], found["missed"], found["died_with_disk"]) == (2, 1, 0)


def test_a_store_that_holds_an_id_twice_shows() -> None:
    assert measure.replication([Made(A, "")], [life("n1", row(A), row(A))])["double_ids"] == 1


def test_what_was_not_acknowledged_makes_stores_unequal_but_is_not_missed() -> None:
    found = measure.replication([Made(A, "n1")], [life("n1", row(A), row(B)), life("n2", row(A))])
    assert (found["missed"], found["unequal"]) == (0, 1)


def test_latency_is_counted_where_a_record_came_from_elsewhere_to_a_node_that_was_up() -> None:
    told = row(A, created=5000, received=5200)
    lives = [
        life("n1", row(A, created=5000, received=5001, via="own")),
        life("n2", told),
        life("n3", row(A, created=5000, received=9000, via="sync"), up=6000),  # it came later
        life("n4", row(A, created=5000, received=5900, via="sync"), up=5000),
        life("n5", row(A, created=5000, received=7000), alive=False),
        life("n6", row(B, created=1, received=7000)),  # was there before the start
    ]
    found = measure.latencies([Made(A, "n1"), Made(B, "")], lives)
    assert (found["latency_p50_s"], found["latency_p99_s"], found["latency_max_s"]) == (0.2, 0.9, 0.9)
    assert (found["by_gossip"], found["by_sync"]) == (1, 1)


def test_nothing_to_measure_is_none() -> None:
    assert measure.latencies([], [])["latency_p50_s"] is None
    assert measure.replication([], [])["delivery"] is None
    assert measure.spread(1000, [life("n1")]) is None
    assert measure.catch_up(life("n1"), 0, synced_bytes=1) == {}
    assert measure.recalls([], {})["recall_max_s"] is None


def test_a_late_joiner_is_timed_from_its_first_record_and_from_its_start() -> None:
    rows = [row(bytes([number]) * 32, received=10_000 + 100 * number, via="sync") for number in range(11)]
    found = measure.catch_up(life("n4", *rows, row(C, received=90_000, via="own")), 8_000, synced_bytes=1650)
    assert (found["catch_up_s"], found["catch_up_per_s"]) == (1.0, 11.0)
    assert (found["catch_up_from_start_s"], found["catch_up_from_start_per_s"]) == (3.0, round(11 / 3, 1))
    assert found["sync_overhead"] == 1.5


def test_queries_of_a_late_joiner_count_while_it_catches_up() -> None:
    asked = [Recalled("n4", 10_000, 0.2, 0), Recalled("n4", 11_000, 0.1, 3), Recalled("n4", 12_000, 9.0, 3)]
    joiner = life("n4", row(A, received=9_000, via="sync"), row(B, received=11_500, via="sync"))
    found = measure.recalls(asked, {"n4": joiner})
    assert (found["recalls"], found["recalls_found"], found["recall_max_s"]) == (2, 1, 0.2)
    assert measure.recalls(asked, {})["recalls"] == 3


def test_what_crosses_a_cut_while_it_holds_shows() -> None:
    cut = Cut(5_000, 9_000, frozenset({"n1", "n2"}))
    made = [Made(A, "n1"), Made(B, "n1"), Made(C, "n3")]
    early, kept, late = (
        row(A, created=4_999, received=6_000),  # it was under way when the cut came
        row(B, created=6_000, received=9_000),
        row(C, created=6_000, received=6_100),
    )
    assert measure.crossed(cut, made, [life("n2", early, kept), life("n3", early, kept, late), life("n4", late)]) == 0
    assert measure.crossed(cut, made, [life("n2", late), life("n4", row(B, created=6_000, received=8_999))]) == 2


def test_the_last_arrival_after_a_moment_counts() -> None:
    lives = [
        life("n1", row(A, received=1500)),
        life("n2", row(A, received=4500)),
        life("n3", row(A, received=9000), alive=False),
    ]
    assert measure.spread(1000, lives) == 3.5


def test_the_last_record_made_after_a_moment_counts() -> None:
    lives = [life("n1", row(A, created=1400, via="own")), life("n2", row(A, created=1400), row(B, created=800, via="own"))]
    assert measure.making(1000, lives) == 0.4
    assert measure.making(2000, lives) is None


def test_checks_are_what_counters_grew_by() -> None:
    before = [{"sync_checks": 2, "sync_rounds": 9, "sync_bytes_in": 5000, "sync_bytes_out": 5000}]
    after = [{"sync_checks": 12, "sync_rounds": 19, "sync_bytes_in": 6000, "sync_bytes_out": 7000}]
    assert measure.checks(before, after) == {"checks": 10, "check_rounds": 1.0, "check_bytes": 300.0}


def test_counters_that_a_node_does_not_have_are_not_made_up() -> None:
    assert measure.checks([{}], [{}]) == {"checks": None}


@given(st.lists(st.floats(0, 1000), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_one_of_the_values_and_enough_are_not_above_it(values: list[float], share: float) -> None:
    found = measure.percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9


def test_all_that_is_measured_has_a_name_to_expect_it_by() -> None:
    lives = [life("n1", row(A))]
    found = measure.replication([], lives) | measure.latencies([], lives) | measure.recalls([Recalled("n1", 0, 0.1, 1)], {})
    found |= measure.catch_up(lives[0], 0, synced_bytes=1) | measure.checks([{}], [{}])
    assert found.keys() <= set(FIGURES)
