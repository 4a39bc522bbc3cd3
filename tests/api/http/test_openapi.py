"""The OpenAPI description of a real node: complete, and held against what the node does, by schemathesis."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from sites import KeyedSite, keyed

from espeer.api.verbs import VERBS

pytestmark = pytest.mark.e2e

EXAMPLES = 3

Json = dict[str, Any]


@schemathesis.serializer("application/x-ndjson")
def lines(_: Any, text: Any) -> bytes:
    """An import's body, for schemathesis."""
    return str(text).encode(errors="replace")


def settings(site: KeyedSite) -> SchemathesisConfig:
    return SchemathesisConfig.from_dict(
        {
            "seed": 1,
            "base-url": site.url,
            "headers": {"Authorization": f"Bearer {site.key}"},
            "request-timeout": 30,
            # whatever is sent there is text, of which it refuses lines
            "operations": [{"include-path": "/api/import", "checks": {"negative_data_rejection": {"enabled": False}}}],
            "phases": {"coverage": {"unexpected-methods": ["delete", "trace"]}},
            "generation": {"max-examples": EXAMPLES, "deterministic": True, "database": "none"},
            "checks": {
                # No description tells that a text holds nothing but control characters, or that one parameter wants another
                # (400), nor that there was no time for an answer (504).
                "positive_data_acceptance": {"expected-statuses": ["2xx", "400", "404", "504"]},
                "negative_data_rejection": {"expected-statuses": ["4xx"]},  # 413, too, for several of the longest texts at once
                "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "504"]},
            },
        }
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyedSite]:
    with keyed(tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.fixture(scope="module")
def description(site: KeyedSite) -> Json:
    found: Json = site.client.get("/openapi.json").json()
    return found


def operations(description: Json) -> Iterator[tuple[str, Json]]:
    """Those of the native API."""
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            if path.startswith("/api/"):
                yield f"{method.upper()} {path}", operation


def inside(part: Any) -> Iterator[Json]:
    """All objects in a description."""
    if isinstance(part, dict):
        yield part
    for value in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from inside(value)


def test_every_verb_has_a_route(description: Json) -> None:
    assert sorted(operation["operationId"] for _, operation in operations(description)) == sorted(VERBS)


def test_every_field_and_parameter_says_what_it_is(description: Json) -> None:
    parameters = [
        (name, parameter) for name, operation in operations(description) for parameter in operation.get("parameters", ())
    ]
    used = {reference["$ref"].rpartition("/")[2] for reference in _of_ours(description)}
    fields = [
        (name, field)
        for name, schema in description["components"]["schemas"].items()
        if name in used
        for field in schema["properties"].items()
    ]
    assert len(used) > 20
    assert [(name, field) for name, (field, said) in fields if not _is_described(said)] == []
    assert [(name, said["name"]) for name, said in parameters if not _is_described(said)] == []


def _of_ours(description: Json) -> Iterator[Json]:
    """The references that our operations make, and those in what these lead to."""
    waiting: list[Any] = [operation for _, operation in operations(description)]
    seen = set()
    while waiting:
        for part in inside(waiting.pop()):
            if "$ref" in part and part["$ref"] not in seen:
                seen.add(part["$ref"])
                waiting.append(description["components"]["schemas"][part["$ref"].rpartition("/")[2]])
                yield part


def _is_described(said: Json) -> bool:
    return any("description" in part or "$ref" in part for part in inside(said))


def test_it_does_what_it_says(site: KeyedSite, description: Json) -> None:
    node = site.node
    learnt = node.ask("learn", text="Pump P7 shows E42.", feedback="Purge the line.", wait=True)["experience"]
    run = node.ask("refine")["run"]
    for part in inside(description):  # types are to be ones that it holds, mostly
        if part.get("pattern", "").startswith("^[a-z0-9-]"):
            part["enum"] = ["general"]
        if part.get("pattern") == r"\S":  # long texts that have to match something take schemathesis a minute to make up
            del part["pattern"]
    answer = node.ask("ask", question="What does E42 mean?")["id"]
    description["components"]["schemas"]["Feedback"]["example"] = {"answer": answer, "good": True}
    there = {"id": learnt, "number": answer, "run": run}
    for _, operation in operations(description):
        for parameter in operation.get("parameters", ()):
            if parameter["name"] in there:
                parameter["example"] = there[parameter["name"]]
    schema = schemathesis.openapi.from_dict(description, config=settings(site))
    failures: list[str] = []
    statuses: set[str] = set()
    for event in from_schema(schema).execute():
        assert not isinstance(event, events.NonFatalError | events.FatalError), event
        if isinstance(event, events.ScenarioFinished):
            statuses.update(
                f"{event.recorder.label} {interaction.response.status_code}"
                for interaction in event.recorder.interactions.values()
                if interaction.response
            )
            failures += [
                f"{event.recorder.label}: {check.name}: {check.failure_info.failure}\n{check.failure_info.code_sample}"
                for checks in event.recorder.checks.values()
                for check in checks
                if check.failure_info
            ]
    assert not failures, "\n".join(failures)
    assert not node.logged("a request failed")
    assert [name for name, _ in operations(description) if not statuses & {f"{name} 200", f"{name} 204"}] == []
