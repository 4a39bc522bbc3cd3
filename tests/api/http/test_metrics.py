"""``/metrics``: what Prometheus reads, and that the dashboard, the alerts and the page about it speak of what there is."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from nacl.signing import SigningKey
from prometheus_client.core import CollectorRegistry, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from espeer import Config, FakeModel, Node, records
from espeer.api.http.served import Served
from espeer.api.http.server import serve
from espeer.api.http.settings import HttpSettings
from espeer.events import Answered, Linked, Recorded, Refined
from espeer.metrics import CACHE_GAUGES, CACHE_TOTALS, NETWORK, Meter, of_peers, of_status
from espeer.p2p.door import Counters
from espeer.p2p.swarm import PeerView
from espeer.records import Experience
from espeer.status import Status

ROOT = Path(__file__).parents[3]
KEY = "k" * 32


def config(folder: Path, **changes: Any) -> Config:
    settings: dict[str, Any] = {
        "data": folder,
        "offline": True,
        "types": ("pumps", "valves"),
        "warming": False,
        "episode_size": 1,
    }
    return Config(**(settings | changes))


@asynccontextmanager
async def listening(served: Served, *, key: str = "") -> AsyncIterator[httpx.AsyncClient]:
    async with trio.open_nursery() as nursery:
        url = await nursery.start(serve, served, HttpSettings(address="127.0.0.1:0", key=key))
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            yield client
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def up(settings: Config) -> AsyncIterator[tuple[Node, httpx.AsyncClient]]:
    served = Served()
    async with Node(settings, model=FakeModel()) as node, listening(served) as client:
        served.up(node)
        await trio.testing.wait_all_tasks_blocked()
        yield node, client
        served.down()


async def scraped(client: httpx.AsyncClient) -> dict[str, Metric]:
    response = await client.get("/metrics")
    assert response.status_code == 200, response.text
    return {family.name: family for family in text_string_to_metric_families(response.text)}


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    found = [
        sample.value
        for family in families.values()
        for sample in family.samples
        if sample.name == name and sample.labels.items() >= labels.items()
    ]
    assert len(found) == 1, (name, labels, found)
    return float(found[0])


def everything() -> list[Metric]:
    """All that a node can tell."""
    status = Status(
        peer_id="12D3",
        addresses=(),
        network_name="main",
        role="peer",
        private=False,
        types=("pumps",),
        model="fake",
        prompts=1,
        version="1",
        peers=1,
        records=(("pumps", "active", 3),),
        store_bytes=4096,
        methods={"distilled": 3},
        interactions=4,
        learning=1,
        queued=0,
        waiting=1,
        waiting_by_priority={"interactive": 1},
        busy_by_priority={"interactive": 1.5},
        engine=dict.fromkeys([*CACHE_TOTALS, *CACHE_GAUGES], 1),
        network=dict.fromkeys(NETWORK, 2),
    )
    meter = Meter()
    meter.hear(Answered(7, ("ab",), "stop", 20.0, 120.0, 30, 10))
    peers = [PeerView("12D3", (), ("pumps",), ("pumps",), 30.0)]
    return [*of_status(status), *of_peers(peers, status.types), *meter.collect()]


class Gathered:
    def collect(self) -> Iterable[Metric]:
        return everything()


def names() -> dict[str, Metric]:
    """The families by name, as Prometheus' text format has it."""
    from espeer.api.http.metrics import Counted  # noqa: PLC0415 - what it imports is not pure

    return {family.name + "_total" * (family.type == "counter"): family for family in [*everything(), *Counted().collect()]}


# -- what is told


async def test_a_node_tells_what_happened(tmp_path: Path) -> None:
    async with up(config(tmp_path)) as (node, client):
        before = await scraped(client)
        assert value(before, "espeer_build_info", model="fake", role="peer", network="main") == 1
        assert value(before, "espeer_interactions") == 0
        assert value(before, "espeer_answers_total", finish="stop") == 0
        await node.learn(
            "Kestrel-3 stops with J18.", feedback="Setting the idler gap to 4 mm cured it.", type="pumps", wait=True
        )
        answer = await node.ask("Which idler setting cured it?")
        after = await scraped(client)
        assert value(after, "espeer_records", type="pumps", state="active") == 1
        assert value(after, "espeer_records_added_total", kind="experience", via="own") == 1
        assert value(after, "espeer_interactions") == 2
        assert value(after, "espeer_answers_total", finish="stop") == 1
        assert value(after, "espeer_answers_augmented_total") == 1
        assert value(after, "espeer_answer_first_token_seconds_count") == 1
        assert value(after, "espeer_answer_first_token_seconds_sum") == pytest.approx(answer.ttft_ms / 1000)
        assert value(after, "espeer_answer_tokens_total") == len(answer.text.split())
        assert value(after, "espeer_store_size_bytes") > 10_000
        assert value(after, "espeer_model_requests_waiting", priority="interactive") == 0
        assert value(after, "process_resident_memory_bytes") > 1e6
        assert value(after, "espeer_peers") == 0
        await node.refine()
        assert value(await scraped(client), "espeer_refinement_runs_total") == 1


async def test_counters_only_grow(tmp_path: Path) -> None:
    async with up(config(tmp_path)) as (node, client):
        last: dict[tuple[str, str], float] = {}
        for number in range(4):
            await node.learn(f"Fault E{number} on line {number}.", feedback=f"Part {number} cured it.", wait=True)
            await node.ask(f"What cures E{number}?")
            now = {
                (sample.name, str(sample.labels)): sample.value
                for family in (await scraped(client)).values()
                if family.type in ("counter", "histogram")
                for sample in family.samples
            }
            assert last.keys() <= now.keys()
            assert all(now[key] >= last[key] for key in last)
            last = now
        assert sum(last.values()) > 20


async def test_the_network_is_told_of_by_how_many_and_never_by_whom(tmp_path: Path) -> None:
    listen = ("/ip4/127.0.0.1/tcp/0",)
    async with up(config(tmp_path / "a", offline=False, listen=listen)) as (node, client):
        settings = config(tmp_path / "b", offline=False, listen=listen, bootstrap=tuple(node.addresses()))
        async with Node(settings, model=FakeModel()) as other:
            with trio.fail_after(60):
                while not (node.peers() and node.peers()[0].types):  # noqa: ASYNC110 - libp2p tells nobody of a subscription
                    await trio.sleep(0.05)
            text = (await client.get("/metrics")).text
            found = await scraped(client)
            assert value(found, "espeer_peers") == 1
            assert value(found, "espeer_topic_peers", type="pumps") == 1
            assert value(found, "espeer_peer_connections_total") == 1
            assert value(found, "espeer_peer_score_max") == 0
            assert value(found, "espeer_gossip_rejected_messages_total") == 0
            assert other.identity.peer_id not in text
            assert node.identity.peer_id not in text


async def test_what_the_client_role_has_not_is_left_out(tmp_path: Path) -> None:
    server = f"/ip4/127.0.0.1/tcp/9/p2p/{'12D3KooWGRUaRQ8rZPkDKPHFFa2hGjHxAPhNLkXhjmeaT8r9kkYX'}"
    peer = records.peer_id(bytes(SigningKey.generate().verify_key))
    settings = config(tmp_path, offline=False, role="client", servers=(server.rpartition("/")[0] + f"/{peer}",))
    async with up(settings) as (_, client):
        found = await scraped(client)
        assert value(found, "espeer_submission_backlog") == 0
        assert value(found, "espeer_build_info", role="client") == 1
        assert found["espeer_records"].samples == []


async def test_while_it_loads_there_is_nothing_to_scrape() -> None:
    async with listening(Served()) as client:
        response = await client.get("/metrics")
        assert response.status_code == 503
        assert "loading" in response.json()["error"]["message"]


async def test_a_key_is_asked_for(tmp_path: Path) -> None:
    served = Served()
    async with Node(config(tmp_path), model=FakeModel()) as node, listening(served, key=KEY) as client:
        served.up(node)
        assert (await client.get("/metrics")).status_code == 401
        response = await client.get("/metrics", headers={"Authorization": f"Bearer {KEY}"})
        assert response.status_code == 200
        assert 'espeer_http_requests_total{code="401",method="GET",route="other"} 1.0' in response.text


async def test_http_is_counted_by_route_and_not_by_path(tmp_path: Path) -> None:
    async with up(config(tmp_path)) as (_, client):
        for path in ("/api/status", "/api/status", "/health", "/no/such", "/wp-admin", "/api/experiences/ab12", "/mcp"):
            await client.get(path)
        await client.request("BREW", "/coffee")
        await client.get("/health", headers={"Host": "evil.example"})
        found = await scraped(client)
    counted = {
        (sample.labels["method"], sample.labels["route"], sample.labels["code"]): sample.value
        for sample in found["espeer_http_requests"].samples
    }
    assert counted[("GET", "/api/status", "200")] == 2
    assert counted[("GET", "/health", "200")] == 1
    assert counted[("GET", "other", "404")] == 2
    assert counted[("GET", "other", "421")] == 1
    assert any(method == "other" for method, _, _ in counted)
    assert any(route == "/mcp" for _, route, _ in counted)
    assert not any("ab12" in route or "wp-admin" in route for _, route, _ in counted)
    assert value(found, "espeer_http_requests_in_progress") == 1  # the scrape itself
    assert value(found, "espeer_http_streams") == 0


async def test_open_streams_are_counted(tmp_path: Path) -> None:
    async with up(config(tmp_path)) as (_, client):
        async with client.stream("GET", "/api/events") as response:
            assert response.status_code == 200
            assert value(await scraped(client), "espeer_http_streams") == 1
        with trio.fail_after(20):
            while value(await scraped(client), "espeer_http_streams"):  # noqa: ASYNC110 - the server notices by itself
                await trio.sleep(0.05)


# -- the format


async def test_the_format_is_the_one_asked_for(tmp_path: Path) -> None:
    async with up(config(tmp_path)) as (node, client):
        await node.ask("What cures J18?")
        plain = await client.get("/metrics")
        assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        wanted = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.3"
        openmetrics = await client.get("/metrics", headers={"Accept": wanted})
        assert openmetrics.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0; charset=utf-8")
        assert openmetrics.text.endswith("# EOF\n")
        families = {family.name: family for family in openmetrics_families(openmetrics.text)}
        exemplars = [sample.exemplar for sample in families["espeer_answer_first_token_seconds"].samples if sample.exemplar]
        assert [exemplar.labels for exemplar in exemplars] == [{"answer": "1"}]
        assert " # {" not in plain.text


def test_names_follow_the_conventions() -> None:
    found = names()
    assert len(found) == len(everything()) + 3  # no name is there twice
    for name, family in found.items():
        assert re.fullmatch("espeer_[a-z]+(_[a-z]+)*", name), name
        assert family.documentation.endswith("."), name
        assert len(family.documentation) > 10, name
        assert ("_total" in name) == (family.type == "counter"), name
        assert not re.search("_(ms|milliseconds|minutes|kb|mb|kilobytes|percent|count|sum|bucket|gauge|counter)(_|$)", name), (
            name
        )
        for unit in ("seconds", "bytes"):
            assert unit not in name or re.search(f"_{unit}(_total)?$", name), name
        assert re.search("_(info|bytes|seconds|total)$", name) or family.type == "gauge", name
        labels = {label for sample in family.samples for label in sample.labels}
        assert not labels & {"peer", "peer_id", "id", "path", "question", "instance", "job"}, name
        assert all(re.fullmatch("[a-z_]+", label) for label in labels), name


def test_no_counter_of_the_network_is_forgotten() -> None:
    assert {field.name for field in fields(Counters)} == NETWORK.keys()


def test_a_histogram_counts_what_lies_within_each_bound() -> None:
    meter = Meter()
    for ttft_ms in (5, 10, 11, 40_000):
        meter.hear(Answered(None, (), "length", ttft_ms, 50_000, 1, 1))
    families = {family.name: family for family in meter.collect()}
    buckets = {
        sample.labels["le"]: sample.value
        for sample in families["espeer_answer_first_token_seconds"].samples
        if sample.name.endswith("_bucket")
    }
    assert (buckets["0.01"], buckets["0.025"], buckets["30.0"], buckets["+Inf"]) == (2, 3, 3, 4)


def test_events_are_counted() -> None:
    meter = Meter()
    meter.hear(Recorded("ab", "retraction", "pumps", b"", "gossip"))
    meter.hear(Refined(1, 10, 6, 2.5, condensed=1, merged=2, evicted=3))
    meter.hear(Linked("12D3", True))
    meter.hear(Linked("12D3", False))
    found = {family.name: family for family in meter.collect()}
    assert value(found, "espeer_records_added_total", kind="retraction", via="gossip") == 1
    assert value(found, "espeer_refinement_seconds_total") == 2.5
    assert value(found, "espeer_refinement_condensed_groups_total") == 1
    assert value(found, "espeer_refinement_merged_groups_total") == 2
    assert value(found, "espeer_refinement_evicted_records_total") == 3
    assert value(found, "espeer_peer_connections_total") == value(found, "espeer_peer_disconnections_total") == 1


# -- cheap


async def test_a_scrape_of_a_large_store_is_cheap(tmp_path: Path) -> None:
    key = SigningKey(bytes(range(32)))
    async with up(config(tmp_path, refining=False)) as (node, client):
        replica = node._parts.here.replica  # type: ignore[union-attr]
        made = [
            records.sign(
                Experience(
                    "pumps",
                    f"Fault {number} is cured by part {number * 7}.",
                    number,
                    bytes(key.verify_key),
                    "fake",
                    "distilled",
                ),
                lambda digest: key.sign(digest).signature,
            )
            for number in range(3000)
        ]
        await trio.to_thread.run_sync(lambda: replica.add(made, via="sync"))
        seconds = []
        for _ in range(9):
            began = time.perf_counter()
            found = await scraped(client)
            seconds.append(time.perf_counter() - began)
        assert value(found, "espeer_records", type="pumps", state="active") == 3000
        plan = node._parts.store.rows("EXPLAIN QUERY PLAN SELECT type, state, records FROM tally WHERE records > 0")
        assert "records" not in str(plan)  # what it takes does not grow with the records
        assert sorted(seconds)[4] < 0.25  # milliseconds where nobody else is at work


# -- what speaks of the metrics


def series(names: Iterable[str]) -> set[str]:
    """The names that expressions may use."""
    found = set(names)
    return found | {f"{name}_{part}" for name in found if name.endswith("_seconds") for part in ("bucket", "sum", "count")}


def used_in(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:espeer|process)_[a-z_]+", expression))


PROCESS = {
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
    "process_start_time_seconds",
    "process_open_fds",
    "process_max_fds",
}


def test_the_dashboard_shows_what_there_is() -> None:
    dashboard = json.loads((ROOT / "ops/grafana/espeer.json").read_text())
    assert dashboard["schemaVersion"] >= 38
    assert {variable["name"] for variable in dashboard["templating"]["list"]} == {"datasource", "instance"}
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    known = series(names()) | PROCESS
    used = set().union(*map(used_in, expressions))
    assert used - known == set()
    assert len(used) > 40
    for panel in panels:
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
    assert all('instance=~"$instance"' in expression for expression in expressions)


def test_the_alerts_are_about_what_there_is() -> None:
    text = (ROOT / "ops/prometheus/alerts.yml").read_text()
    used = used_in(text)
    assert used
    assert used - series(names()) - PROCESS == set()


def test_the_page_lists_all_of_them() -> None:
    page = (ROOT / "docs/metrics.md").read_text()
    rows = dict(re.findall(r"^\| `(espeer_\w+)` \| (.*) \|$", page, re.MULTILINE))
    expected = {}
    for name, family in names().items():
        labels = dict.fromkeys(label for sample in family.samples for label in sample.labels if label != "le")
        if name == "espeer_http_requests_total":
            labels = dict.fromkeys(("method", "route", "code"))
        expected[name] = f"{family.type} | {', '.join(labels)} | {family.documentation}".replace("|  |", "| |")
    assert rows == expected


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (of Prometheus) is not installed")
def test_prometheus_own_tool_finds_nothing_wrong() -> None:
    registry = CollectorRegistry()
    registry.register(Gathered())
    for command, given in (
        (["promtool", "check", "metrics"], generate_latest(registry)),
        (["promtool", "check", "rules", str(ROOT / "ops/prometheus/alerts.yml")], b""),
    ):
        done = subprocess.run(command, input=given, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b""), done
