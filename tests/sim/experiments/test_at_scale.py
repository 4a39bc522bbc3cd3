"""The experiment at scale: small fleets, and what the report says of them."""

import io
import json
from pathlib import Path

from rich.console import Console

from espeer.sim.experiments import performing, scale_report, settings
from espeer.sim.experiments.settings import Scale
from espeer.sim.virtual.profile import shipped

SCENARIO = """
experiment = "scale"
name = "small"
about = "Two very small fleets."
seeds = [1]
nodes = [3]
minutes = 1
asks_per_minute = 2
refine_after = 4
real = 0
"""


def test_fleets_are_simulated_once_and_reported(tmp_path: Path) -> None:
    chosen = settings.parse(SCENARIO)
    for _ in range(2):  # the second time nothing is left to do
        report = performing.perform(chosen, folder=tmp_path, data=None, command="x", console=Console(file=io.StringIO()))
    found = json.loads((tmp_path / "result.json").read_text())
    figures = {figure["name"]: figure["estimate"] for figure in found["figures"]}
    assert figures["3.missed"]["value"] == 0
    assert figures["3.latency_p50_s"]["of"] == 1
    assert figures["3.replica_records"]["value"] == 5
    assert [table.rows[0][0] for table in report.tables] == ["3"] * 4
    assert (tmp_path / "small-time.svg").exists()


def test_what_was_real_is_set_against_what_was_simulated() -> None:
    chosen = settings.parse(SCENARIO)
    assert isinstance(chosen, Scale)
    real = {"latency_p50_s": 0.1, "latency_p99_s": 0.2, "ttft_p50_ms": 100.0, "ttft_p99_ms": 200.0}
    simulated = {"latency_p50_s": 0.11, "latency_p99_s": 0.3, "ttft_p50_ms": 90.0, "ttft_p99_ms": 150.0}
    report = scale_report.make(chosen, shipped(), {}, [{"real": real, "simulated": simulated, "hop_ms": 4.0}])
    table = report.tables[-1]
    assert [row[-1] for row in table.rows] == ["yes", "no", "yes", "no"]
    ratios = {figure.name: figure.estimate.value for figure in report.figures if figure.name.startswith("simulated over real")}
    assert round(ratios["simulated over real.latency_p50_s"], 3) == 1.1
