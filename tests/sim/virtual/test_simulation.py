"""Whole simulations: real nodes on a virtual clock, for minutes that pass in seconds."""

from dataclasses import replace

import pytest

from espeer.sim.virtual.plan import Partition, Plan
from espeer.sim.virtual.profile import shipped
from espeer.sim.virtual.run import simulate

PLAN = Plan(
    nodes=6,
    seed=1,
    minutes=2,
    latency_ms=40,
    latency_spread=0.3,
    loss=0.0,
    mbit=20,
    hop_ms=3,
    learns_per_minute=6,
    asks_per_minute=4,
    churn_per_minute=0,
    repeats=3,
    refine_after=8,
    repair_interval=20,
    warming=False,
    cores=0,
    partitions=(),
)


def test_what_one_learns_all_know_soon_and_refine_each_for_themselves() -> None:
    found = simulate(PLAN, shipped())
    assert (found["records"], found["missed"], found["equal"]) == (12, 0, True)
    assert found["by_gossip"] == 12 * 5
    assert 0.02 < found["latency_p50_s"] <= found["latency_p99_s"] < 0.5
    assert found["convergence_s"] <= found["latency_max_s"]
    assert found["asks"] == 8
    assert found["ttft_p50_ms"] > shipped().seconds(1) * 1000
    assert found["bytes_per_node_hour"] > found["control_bytes_per_node_hour"] > 0
    assert found["condensed"] > found["condensed_distinct"] > 0  # the same groups on several nodes
    assert found["active"] < found["records"]


@pytest.mark.parametrize(
    "plan",
    [
        replace(PLAN, loss=0.2, asks_per_minute=0, refine_after=100),
        replace(PLAN, partitions=(Partition(20, 60, 0.5),), asks_per_minute=0, refine_after=100),
        replace(PLAN, churn_per_minute=2, asks_per_minute=0, refine_after=100),
    ],
    ids=["loss", "partition", "churn"],
)
def test_all_hold_the_same_in_the_end(plan: Plan) -> None:
    found = simulate(plan, shipped())
    assert found["equal"]
    assert found["missed"] == found["unequal"] == 0
    assert found["nodes_alive"] == 6
    if plan.partitions:
        assert found["by_sync"] > 0
        assert found["latency_max_s"] > 10  # what was made on one side came to the other when there was a way again
