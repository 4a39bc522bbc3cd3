"""Serverless or server: what is drawn, put through real nodes, and made of it."""

import io
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from rich.console import Console

from espeer.demo import incidents
from espeer.sim.experiments import performing, serverless, serverless_drive, settings
from espeer.sim.experiments.report import Report
from espeer.sim.experiments.serverless_crossing import breaks_even, crossing, crossing_of_medians
from espeer.sim.experiments.serverless_found import PARTS, Asked, Failed, How, Kind, Piece, Spread
from espeer.sim.experiments.serverless_trace import Lesson, Trace, coded, draw, tells_of

linux = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="proxies ask Linux's /proc which port a node listens on"
)

SCENARIO = """
experiment = "serverless"
name = "small"
about = "Of values, without a process."
seeds = [1, 2]
devices = 2
delays = [0, 100]
rounds = 1
lessons = 2
"""


def traced(seed: int = 1, *, devices: int = 3, rounds: int = 2, lessons: int = 2) -> Trace:
    return draw(incidents.load(), seed, devices=devices, rounds=rounds, lessons=lessons, gap=0.01, at_once=2)


# -- the trace


def test_a_trace_is_its_seeds() -> None:
    assert traced(1) == traced(1)
    assert traced(1) != traced(2)


def test_every_device_is_asked_about_everything_once_by_each_load() -> None:
    trace = traced()
    learnt = {lesson.incident.id for lesson in trace.learnt}
    assert len(learnt) == 4
    for load, together in (("idle", 1), ("bursty", 3 * 2)):
        volleys = trace.volleys[load]  # type: ignore[index]
        assert {len(volley.questions) for volley in volleys} == {together}
        asked = [(one.device, one.incident.id) for volley in volleys for one in volley.questions]
        assert sorted(asked) == sorted((device, item) for device in range(3) for item in learnt)
        assert [volley.at for volley in volleys] == sorted(volley.at for volley in volleys)


def test_checks_are_the_same_every_time_and_on_devices_that_learnt_it_from_others() -> None:
    trace = traced()
    author = {lesson.incident.id: lesson.device for lesson in trace.learnt}
    assert len(trace.checks) == 3
    for questions in trace.checks:
        assert [question.incident.id for question in questions] == list(author)
        assert all(question.device != author[question.incident.id] for question in questions)


def test_a_text_tells_of_one_lesson_alone() -> None:
    known = incidents.load()
    told = coded(known)
    assert len(told) > 70
    for incident, code in told:
        assert [one.id for one in known if tells_of(f"{one.report} {one.cure} {one.question}", code)] == [incident.id]
        assert tells_of(incident.report, code)
        assert tells_of(incident.question, code)


# -- where lines cross


@pytest.mark.parametrize(
    ("gains", "expected"),
    [((1, 2, 3), 0), ((-1, 1, 2), 10), ((-3, 1, 1), 15), ((1, 2, -1), None), ((1, -1, 1), 30), ((0, 0, 0), None)],
)
def test_the_least_value_from_which_there_is_a_gain(gains: tuple[float, ...], expected: float | None) -> None:
    assert crossing((0, 20, 40), gains) == expected


def test_medians_cross_with_an_interval() -> None:
    one = [[[10.0], [11.0], [12.0], [13.0], [14.0]]] * 3
    other = [[[value + more for value in volley] for volley in one[0]] for more in (-5, 5, 15)]
    found = crossing_of_medians((0, 10, 20), one, other)
    assert found is not None
    assert found.value == 5
    assert 0 <= found.low <= 5 <= found.high <= 20
    assert crossing_of_medians((0, 10, 20), other, one) is None


def test_what_costs_more_at_first_breaks_even_if_it_costs_less_by_use() -> None:
    assert breaks_even(100, 0, 20, 40) == 2
    assert breaks_even(10, 0, 20, 40) == 0
    assert breaks_even(100, 40, 20, 40) is None


# -- what is made of it


def perform(monkeypatch: pytest.MonkeyPatch, folder: Path, made: list[object]) -> Report:
    """Perform the experiment, where a client waits a round trip for its server and peers wait for nothing."""

    async def measure(
        kind: Kind, trace: Trace, loads: list[str], *, delay_ms: float, devices: int, whole: bool, warming: bool, **_: object
    ) -> Piece:
        made.append((kind, delay_ms, trace))
        network = delay_ms if kind == "server" else 0.0
        ttft_ms = 20 + network + (-5 if kind == "server" else 0) + (0 if warming else 40)  # so that they cross at 5 ms
        timing = dict.fromkeys(PARTS, 0.0) | {"network": network, "prefill": ttft_ms - network}
        nodes = (["server"] if kind == "server" else []) + [f"n{number + 1}" for number in range(devices)]
        return {
            "model": "fake",
            "asked": [
                Asked(
                    key=f"n{q.device} {q.incident.id}",
                    volley=number,
                    phase=load,
                    answered=True,
                    ttft_ms=ttft_ms,
                    timing=timing,
                    found=True,
                )
                for load in loads
                for number, volley in enumerate(trace.volleys[load])  # type: ignore[index]
                for q in volley.questions
            ],
            "checked": [
                {"item": q.incident.id, "round": n, "right": n > 0} for n, all_ in enumerate(trace.checks) for q in all_
            ],
            "delivery_ms": [3.0, 4.0],
            "busy": {name: {"interactive": 2.0, "distil": 2.0, "refine": 0.0, "warm": float(kind == "p2p")} for name in nodes},
            "seconds": 20.0,
            "quiet": 1.0,
            "query_bytes": 100.0 if kind == "server" else 0.0,
            "lesson_bytes": 500.0 if kind == "server" else 900.0,
            "stored": dict.fromkeys(nodes, 300),
            "refining": dict.fromkeys((nodes if kind == "p2p" else ["server"]) if whole else [], 0.3),
        }

    async def spread(kind: Kind, trace: Trace, **_: object) -> list[Spread]:
        made.append((kind, trace))
        return [{"item": lesson.incident.id, "seconds": 1.5 if kind == "p2p" else None} for lesson in trace.learnt]

    async def fail(kind: Kind, victim: int | None, how: How, trace: Trace, **_: object) -> Failed:
        made.append((kind, victim, how, trace))
        asked = [
            Asked(key="n1 x", volley=0, phase=phase, answered=phase != "down", ttft_ms=None, timing={}, found=False)
            for phase in ("before", "down", "after")
        ]
        return {"asked": asked, "outage": 2.0, "outage_spread": None, "recovered": 3.0}

    monkeypatch.setattr(serverless, "measure", measure)
    monkeypatch.setattr(serverless, "spread", spread)
    monkeypatch.setattr(serverless, "fail", fail)
    chosen = settings.parse(SCENARIO)
    return performing.perform(chosen, folder=folder, data=None, command="x", console=Console(file=io.StringIO()))


def test_both_go_through_the_same_and_the_report_says_where_they_cross(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    report = perform(monkeypatch, tmp_path, made)
    assert len(made) == 2 * (2 * 2 * 2) + 2 + 3 * 2
    perform(monkeypatch, tmp_path, made)
    assert len(made) == 2 * (2 * 2 * 2) + 2 + 3 * 2, "what is done is not done again"
    figures = {figure.name: figure.estimate.value for figure in report.figures}
    assert figures["server.idle.100ms.ttft_p50"] == 115
    assert figures["p2p.idle.100ms.ttft_p50"] == 20
    assert figures["crossing.idle.ttft_ms"] == pytest.approx(5)
    assert figures["p2p.idle.0ms.cold.ttft_mean"] == 60
    assert figures["p2p.right.round1"] == 1
    assert figures["p2p.refining_s"] == pytest.approx(0.6)
    assert figures["server.server_killed.down.answered"] == 0
    tables = {table.title: table.rows for table in report.tables}
    assert (
        "bytes over the network, but for what flows while nothing happens",
        "from 4.0 questions for each experience",
    ) in tables["Where peer to peer becomes the better"]
    better = dict(tables["Where peer to peer becomes the better"])
    assert better["median time to first token, idle load"] == "from a round trip of 5 ms (5 to 5)"
    lessons = tables["From a lesson until it helps all"]
    assert [row[1] for row in lessons] == ["1.50 (4, all alike)"] * 2
    assert [row[3] for row in lessons] == ["4 of 4 not in 60 s"] * 2
    assert tables["What was learnt in an outage"][1][3] == "not in 60 s"
    waits = next(rows for title, rows in tables.items() if title.startswith("Waiting less for model time: 0.50 s"))
    assert [row[1:] for row in waits] == [
        ("0", "-0.005", "–", "–"),
        ("100", "0.095", "–", "–"),
        ("0", "0.000", "never", "never"),
        ("100", "0.100", "5.0", "6.5"),
        ("0", "-0.005", "never", "never"),
        ("100", "0.095", "5.3", "6.8"),
    ]
    assert (tmp_path / "small-ttft-idle.svg").exists()


# -- real nodes


@linux
@pytest.mark.e2e
def test_a_client_waits_for_its_server_and_a_peer_for_nobody() -> None:
    async def measured() -> list[Piece]:
        kinds: tuple[Kind, ...] = ("server", "p2p")
        trace = traced(devices=2, rounds=1, lessons=2)
        found: list[Piece] = []

        async def measure(kind: Kind) -> None:
            found.append(
                await serverless_drive.measure(
                    kind, trace, ("idle",), devices=2, delay_ms=60, model="fake", calm=0, quiet=0.1, whole=True
                )
            )

        with trio.fail_after(120):
            async with trio.open_nursery() as nursery:
                for kind in kinds:
                    nursery.start_soon(measure, kind)
        return sorted(found, key=lambda piece: len(piece["busy"]))

    p2p, server = trio.run(measured)
    for piece in (p2p, server):
        assert [one["answered"] and one["found"] for one in piece["asked"]] == [True] * 4
        assert [one["right"] for one in piece["checked"]] == [False, False, True, True]
        assert len(piece["delivery_ms"]) == 4
        assert min(piece["delivery_ms"]) >= 30
    assert all(one["timing"]["network"] >= 60 for one in server["asked"])
    assert all(one["timing"]["network"] == 0 for one in p2p["asked"])
    assert (server["query_bytes"] > 100, p2p["query_bytes"] < 100) == (True, True)
    assert set(server["refining"]) == {"server"}
    assert set(p2p["refining"]) == {"n1", "n2"}
    assert [server["stored"][name] for name in ("n1", "n2")] == [0, 0]
    assert p2p["stored"]["n1"] == p2p["stored"]["n2"] == server["stored"]["server"] > 0


@linux
@pytest.mark.e2e
def test_a_lesson_helps_all_though_its_question_has_hardly_a_word_of_it() -> None:
    def strange(lesson: Lesson) -> Lesson:
        return replace(lesson, incident=replace(lesson.incident, question="Whatever could that be?"))

    trace = traced(devices=2, rounds=1, lessons=2)
    trace = replace(trace, lessons=tuple(tuple(map(strange, lessons)) for lessons in trace.lessons))

    async def spread() -> list[Spread]:
        with trio.fail_after(120):
            return await serverless_drive.spread("server", trace, devices=2, delay_ms=10, model="fake")

    assert all(one["seconds"] is not None for one in trio.run(spread))


@linux
@pytest.mark.e2e
def test_without_its_server_a_client_answers_without_experience_until_it_is_back() -> None:
    trace = traced(devices=2, rounds=1, lessons=2)

    async def failed() -> Failed:
        with trio.fail_after(120):
            return await serverless_drive.fail("server", None, "killed", trace, devices=2, delay_ms=10, model="fake", calm=0)

    found = trio.run(failed)
    assert {(one["phase"], one["answered"], one["found"]) for one in found["asked"]} == {
        ("before", True, True),
        ("down", True, False),
        ("after", True, True),
    }
    assert found["outage_spread"] is not None
    assert found["recovered"] is not None
    assert found["outage_spread"] >= found["recovered"] > 0
