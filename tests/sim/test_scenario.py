"""Scenarios: what may stand in a file, and what the error says otherwise."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espeer.errors import ConfigError
from espeer.sim.reading import MAX_FILE
from espeer.sim.scenario import STEPS, Burst, Learn, Partition, Scenario, parse

SIMULATIONS = Path(__file__).parents[2] / "simulations"

GOOD = """
name = "two"
about = "Two nodes learn."
seed = 1

[nodes]
count = 4
types = ["pumps", "valves"]

[seeded]
records = 10
nodes = ["n1"]

[[steps]]
do = "learn"
seconds = 10
per_second = 2

[[steps]]
do = "partition"
at = 3
first = 2
seconds = 4.5

[expect]
missed = 0
latency_p50_s = "< 0.3"

[quick]
nodes.count = 2
seeded.records = 5
steps = [{ do = "burst", each = 3 }]
expect.missed = 1
"""


def test_a_scenario_holds_what_its_file_says() -> None:
    scenario = parse(GOOD)
    assert scenario.nodes.count == 4
    assert scenario.nodes.types == ("pumps", "valves")
    assert scenario.nodes.repair_interval == 20.0
    assert scenario.steps == (Learn(seconds=10, per_second=2), Partition(at=3, first=2, seconds=4.5))
    assert [(one.figure, one.limit) for one in scenario.expect] == [("missed", "== 0"), ("latency_p50_s", "< 0.3")]
    assert scenario.partitioned


def test_the_quick_form_has_its_own_numbers_and_steps_and_shares_the_rest() -> None:
    scenario = parse(GOOD, quick=True)
    assert scenario.nodes.count == 2
    assert scenario.nodes.types == ("pumps", "valves")
    assert scenario.seeded is not None
    assert scenario.seeded.records == 5
    assert scenario.steps == (Burst(each=3),)
    assert [one.limit for one in scenario.expect] == ["== 1", "< 0.3"]


@pytest.mark.parametrize("path", sorted(SIMULATIONS.glob("*.toml")), ids=lambda path: path.stem)
@pytest.mark.parametrize("quick", [False, True])
def test_the_scenarios_of_the_repository_are_read(path: Path, *, quick: bool) -> None:
    scenario = parse(path.read_text(encoding="utf-8"), quick=quick)
    assert scenario.name == path.stem
    assert scenario.expect


def test_there_are_scenarios() -> None:
    assert len(list(SIMULATIONS.glob("*.toml"))) >= 9


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seed = 1", "sed = 1", "sed is not known"),
        ("seed = 1", "", "seed is missing"),
        ("seed = 1", "seed = -1", "seed is -1; give 0 to"),
        ("seed = 1", "seed = 1.5", "seed is 1.5; give a whole number"),
        ("seed = 1", "seed = true", "seed is True; give a whole number"),
        ("seed = 1", "seed = " + "9" * 4400, "not TOML"),
        ("seed = 1", "seed = " + "9" * 4000, "seed is 9999"),
        ('name = "two"', 'name = "two nodes"', "name is 'two nodes'; give what matches"),
        ("count = 4", "count = 1000", "nodes.count is 1000; give 1 to 64"),
        ("count = 4", "count = 4\nrepair_interval = nan", "nodes.repair_interval is nan"),
        ("count = 4", "count = 4\nrepair_interval = inf", "nodes.repair_interval is inf"),
        ('"pumps", "valves"', '"pumps", 7', r"nodes.types\[1\] is 7; give a string"),
        ('types = ["pumps", "valves"]', 'types = "pumps"', "nodes.types is 'pumps'; give a list"),
        ("per_second = 2", "per_second = 2\nevry = 5", r"steps\[0\].evry is not known; steps\[0\] may hold at, seconds"),
        ("per_second = 2", "", r"steps\[0\].per_second is missing"),
        ('do = "learn"', 'do = "dance"', r"steps\[0\].do: give one of learn, burst"),
        ("first = 2", "first = 4", r"steps\[1\].first leaves nobody on the other side"),
        ('nodes = ["n1"]', 'nodes = ["n5"]', "seeded.nodes names n5, but the nodes are n1 to n4"),
        ("missed = 0", "misst = 0", "expect.'misst' is not known"),
        ("nodes.count = 2", "nodes.cuont = 2", "in the quick form: nodes.cuont is not known"),
        ("[quick]\n", "[[quick]]\n", "quick is not a table"),
    ],
)
def test_a_mistake_is_told_by_its_name(old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError, match=said):
        parse(GOOD.replace(old, new, 1))


def test_a_node_is_not_started_twice() -> None:
    twice = 'steps = [{ do = "start", node = "n2" }, { do = "start", node = "n2" }]'
    with pytest.raises(ConfigError, match="each node is started once"):
        parse(GOOD.replace('steps = [{ do = "burst", each = 3 }]', twice))


def test_what_is_nested_or_long_beyond_reason_is_refused() -> None:
    with pytest.raises(ConfigError, match="nested far too deep"):
        parse(GOOD.replace("seed = 1", "seed = " + "[" * 5000 + "]" * 5000))
    with pytest.raises(ConfigError, match="at most"):
        parse("#" * (MAX_FILE + 1))


@given(st.text(max_size=300))
def test_any_text_is_a_scenario_or_a_config_error(text: str) -> None:
    _parse_or_refuse(text)


VALUES = st.recursive(
    st.one_of(
        st.integers().map(str),
        st.floats().map(lambda value: repr(value).replace("e", "e0")),
        st.booleans().map(lambda value: str(value).lower()),
        st.sampled_from(['"n1"', '"learn"', '"< 1"', '""', "2026-01-01", "12:30:00", '"\\u0000"']),
    ),
    lambda inner: st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
    max_leaves=5,
)
KEYS = st.sampled_from(
    ["name", "about", "seed", "settle", "count", "types", "records", "nodes", "do", "at", "seconds", "first", "missed", "x"]
)
TABLES = st.sampled_from(["", "[nodes]", "[seeded]", "[[steps]]", "[expect]", "[quick]", "[quick.nodes]", "[[quick.steps]]"])
LINES = st.builds(lambda key, value: f"{key} = {value}", KEYS, VALUES)


@given(st.lists(st.tuples(TABLES, st.lists(LINES, max_size=4)), max_size=6))
def test_any_toml_is_a_scenario_or_a_config_error(parts: list[tuple[str, list[str]]]) -> None:
    _parse_or_refuse("\n".join("\n".join([table, *lines]) for table, lines in parts))


@given(KEYS, VALUES, st.sampled_from(["seed = 1", "count = 4", "records = 10", "seconds = 10", "first = 2", "missed = 0"]))
def test_any_value_in_a_good_scenario_is_taken_or_refused(key: str, value: str, place: str) -> None:
    name = place.partition(" ")[0]
    _parse_or_refuse(GOOD.replace(place, f"{name} = {value}", 1))
    _parse_or_refuse(GOOD.replace(place, f"{place}\n{key}_ = {value}", 1))


def test_every_step_says_what_it_is() -> None:
    assert all(step.__doc__ and step.__doc__.strip() for step in STEPS.values())


def _parse_or_refuse(text: str) -> None:
    try:
        assert isinstance(parse(text), Scenario)
    except ConfigError as error:
        assert "\n" not in str(error)  # noqa: PT017 - both ways are fine, and this holds for one of them
