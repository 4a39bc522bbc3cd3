"""The dashboard of real nodes, in a real browser."""

import socket
from dataclasses import dataclass
from pathlib import Path

import pytest
from chromium import Page
from processes import NodeProcess, Nodes, eventually
from selenium.webdriver.common.keys import Keys

pytestmark = pytest.mark.e2e

HOSTILE = (
    '<img src=x onerror="window.hacked=1"> <script>window.hacked=1</script> <svg onload=hacked=1> '
    "\"'><iframe src=javascript:hacked=1></iframe> {{7*7}} P9 shows E13."
)
CURE = "Purging the line for 40 s cured it."


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Fleet:
    """Two nodes that know each other; the dashboard of the first is looked at."""

    here: NodeProcess
    there: NodeProcess
    url: str

    def learn(self, node: NodeProcess, text: str, cure: str = CURE) -> str:
        """Have a node learn; return the experience's id."""
        return str(node.ask("learn", text=text, feedback=cure, type="pumps", wait=True)["experience"])


@pytest.fixture(scope="module")
def fleet(nodes: Nodes, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    folder = tmp_path_factory.mktemp("fleet")
    types = ("--type", "pumps", "--type", "valves")
    port = free_port()
    here = nodes.start(folder / "here", *types, "--http", f"127.0.0.1:{port}")
    there = nodes.start(folder / "there", *types, "--no-http", "--bootstrap", here.up()["addresses"][0])
    eventually("a mesh", lambda: [peer for peer in here.ask("peers") if len(peer["mesh"]) == len(("pumps", "valves"))])
    made = Fleet(here, there, f"http://127.0.0.1:{port}/")
    made.learn(here, "Pump P0 shows E10.")
    return made


def test_what_another_node_learns_arrives_and_the_mesh_is_drawn(page: Page, fleet: Fleet) -> None:
    page.live(fleet.url)
    peer = fleet.there.up()["peer_id"]
    page.says("#network-summary", "1 peer, 1 in the mesh")
    assert {line.get_attribute("class") for line in page.all("#graph line")} == {"edge t0", "edge t1"}
    page.says("#peers", peer[-6:], "pumps", "valves", "127.0.0.1")
    assert page.text("#graph g:not(.me) title") == peer
    learnt = fleet.learn(fleet.there, "Pump P7 shows E42 when cold.")
    page.says(f'#experiences [data-id="{learnt}"]', "E42", "pumps", "by gossip", peer[-6:], learnt[:8])
    page.says("#tile-experiences", "Experiences2")
    page.says("#tile-traffic", "1 by gossip")
    page.says("#announcer", "1 experience arrived")
    own = fleet.learn(fleet.here, "Valve V2 hums at night.", "Turning it by a quarter silenced it.")
    page.says(f'#experiences [data-id="{own}"]', "learnt here", "this node")
    assert [item.get_attribute("data-id") for item in page.all("#experiences li")][:2] == [own, learnt]  # the newest first
    page.live(fleet.url)  # a page that comes later shows the same
    page.says("#experiences", learnt[:8], own[:8])
    page.says("#facts", "peer", "(open)", "fake", fleet.here.up()["peer_id"][-6:])
    assert page.complaints() == []


def test_a_refinement_run_is_shown_and_what_it_did_to_an_experience(page: Page, fleet: Fleet) -> None:
    twins = [fleet.learn(fleet.here, f"Pump P5 stops with E55 after rain{end}", "Drying the float cured it.") for end in ".!"]
    page.live(fleet.url)
    page.says("#experiences", *(twin[:8] for twin in twins))
    outcome = fleet.here.ask("refine")
    page.says("#refinements", f"{outcome['before']} → {outcome['after']}", "1 superseded")
    page.eventually(lambda: sum(bool(page.all(f'#experiences [data-id="{twin}"]')) for twin in twins) == 1)
    kept = next(twin for twin in twins if page.all(f'#experiences [data-id="{twin}"]'))
    page.one(f'#experiences [data-id="{kept}"] button').click()
    page.says("#lifecycle-body", kept, "Stands for")
    page.one("#lifecycle-body .record").click()
    page.says("#lifecycle-body", "superseded", "Superseded by", f"Run {outcome['run']}: active, then superseded")
    page.one("#lifecycle-back").click()
    page.says("#lifecycle-body", kept, "It is recalled from.")
    page.one("#lifecycle-close").click()
    assert page.complaints() == []


def test_a_question_is_answered_with_what_was_learnt_and_rated_by_keyboard(page: Page, fleet: Fleet) -> None:
    learnt = fleet.learn(fleet.there, "Pump P8 shows E77 when it is wet.", "Drying the plug cured it.")
    eventually("it arrives", lambda: fleet.here.holds(learnt))
    page.live(fleet.url)
    page.run(
        """const state = document.querySelector("#answer-state");
        window.states = [];
        new MutationObserver((seen) => seen.forEach((one) => one.addedNodes.forEach((text) => states.push(text.data))))
            .observe(state, {childList: true});"""
    )
    page.one("#question").send_keys("P8 shows E77, which plug?", Keys.ENTER)
    page.says("#answer-state", "First token after")
    assert page.run("return states.slice(0, 2)") == ["The model reads…", "The model writes…"]
    assert "E77" in page.text("#answer-text") or "plug" in page.text("#answer-text")
    page.says("#answer-used", learnt[:8], "of the question's words")
    page.says("#tile-ttft", "1 answer")
    page.one("#feedback-good").send_keys(Keys.ENTER)
    page.says("#feedback-state", "Noted.")
    page.one("#feedback-text").send_keys("It is the silver plug.", Keys.ENTER)
    page.says("#feedback-state", "it becomes an experience")
    page.one(f'#answer-used [data-id="{learnt}"] button').send_keys(Keys.ENTER)
    page.says("#lifecycle-body", learnt, "active", "by gossip", "connected, score 0", "P8 shows E77, which plug?", "it helped")
    assert page.run("return document.activeElement.closest('dialog')?.id") == "lifecycle"  # the focus is inside
    page.press(Keys.ESCAPE)
    assert not page.one("#lifecycle").is_displayed()
    page.one("#feedback-bad").click()
    page.says("#feedback-state", "Noted.")
    assert page.complaints() == []


def test_hostile_texts_are_shown_as_texts(page: Page, fleet: Fleet) -> None:
    page.live(fleet.url)
    before = page.run("return document.querySelectorAll('img, script, iframe, svg[onload]').length")
    learnt = fleet.learn(fleet.there, HOSTILE)
    page.says(f'#experiences [data-id="{learnt}"]', "<img src=x", "<script>window.hacked=1</script>")
    page.one(f'#experiences [data-id="{learnt}"] button').click()
    page.says("#lifecycle-body", "<iframe", "{{7*7}}")
    page.press(Keys.ESCAPE)
    page.one("#question").send_keys(HOSTILE, Keys.ENTER)
    page.says("#answer-question", "<script>")
    page.says("#answer-state", "First token after")
    # a node refuses types and peer ids such as these; were one to get through, it would still be text
    page.run(
        """const evil = arguments[0], done = Promise.all([import("/static/experiences.js"), import("/static/graph.js"),
            import("/static/tiles.js")]).then(([experiences, graph, tiles]) => {
            const experience = {id: `${evil}"]`, text: evil, type: evil, author: evil, created: 1, via: evil, model: evil,
                method: evil, sources: []};
            experiences.arrived({kind: "experience", id: experience.id, at: 1, experience});
            const peer = {peer_id: evil, addresses: [evil], types: [evil], mesh: [evil], score: evil};
            graph.draw({peer_id: evil, types: [evil]}, [peer]);
            tiles.stands({records: [{type: evil, state: evil, records: 1}], store_bytes: 1, learning: 0, network: {}});
            window.told = true;
        }); return done""",
        HOSTILE,
    )
    page.eventually(lambda: page.run("return window.told"))
    assert HOSTILE in page.text("#experiences li:first-child")
    assert page.text("#peers .address") == HOSTILE
    assert page.text("#legend") == HOSTILE
    assert page.run("return window.hacked ?? null") is None
    assert page.run("return document.querySelectorAll('img, script, iframe, svg[onload]').length") == before
    assert page.complaints() == []


def test_the_page_says_when_the_node_is_gone_and_goes_on_when_it_is_back(page: Page, nodes: Nodes, tmp_path: Path) -> None:
    port = free_port()
    web = ("--http", f"127.0.0.1:{port}", "--listen", "/ip4/127.0.0.1/tcp/0")
    node = nodes.start(tmp_path / "data", *web)
    page.live(f"http://127.0.0.1:{port}/")
    node.kill()
    page.says("#connection-text", "the node stopped; trying again")
    page.one("#question").send_keys("Anybody there?", Keys.ENTER)
    page.says("#answer-state", "The node cannot be reached.")
    again = nodes.start(tmp_path / "data", *web)
    page.says("#connection-text", "live")
    learnt = again.ask("learn", text="Pump P1 is back.", wait=True)["experience"]
    page.says("#experiences", learnt[:8])
    again.stop()  # an open stream must not keep it
    page.says("#connection-text", "the node stopped; trying again")
    assert [line for line in page.complaints() if "net::ERR_" not in line] == []


def test_the_key_is_asked_for_once_and_kept_for_the_tab(page: Page, nodes: Nodes, tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.write_text("correct-horse-battery")
    key_file.chmod(0o600)
    port = free_port()
    node = nodes.start(tmp_path / "data", "--http", f"127.0.0.1:{port}", "--http-key-file", key_file)
    page.open(f"http://127.0.0.1:{port}/")
    page.eventually(lambda: page.one("#key").is_displayed())
    page.press("wrong-key", Keys.ENTER)
    page.says("#key-state", "That is not its key.")
    page.press("correct-horse-battery", Keys.ENTER)
    page.says("#connection-text", "live")
    page.says("#facts", node.up()["peer_id"][-6:])
    page.one("#question").send_keys("Anything?", Keys.ENTER)
    page.says("#answer-state", "First token after")
    page.live(f"http://127.0.0.1:{port}/")
    assert not page.one("#key").is_displayed()
    assert [line for line in page.complaints() if "401" not in line] == []


def test_it_is_worked_by_keyboard_from_the_top(page: Page, fleet: Fleet) -> None:
    page.live(fleet.url)
    page.eventually(lambda: page.all("#experiences .record"))
    assert page.press(Keys.TAB) == "skip"
    assert page.run("return getComputedStyle(document.activeElement).outlineStyle") != "none"
    assert page.run("return document.activeElement.getBoundingClientRect().top") >= 0
    assert page.press(Keys.ENTER) == "main"
    order = [page.press(Keys.TAB) for _ in range(6)]
    assert order == ["peers-summary", "scroll", "question", "ask-type", "ask-go", "record"]


@pytest.mark.parametrize("width", [360, 800, 1280, 1600])
def test_nothing_is_wider_than_the_window(page: Page, fleet: Fleet, width: int) -> None:
    page.window(width, 800)
    page.live(fleet.url)
    page.one("#question").send_keys("P7 shows E42?" + "x" * 200, Keys.ENTER)
    page.says("#answer-state", "First token after")
    page.one("#peers-details summary").click()
    assert page.run("return document.documentElement.scrollWidth") <= width
    page.one("#experiences .record").click()
    page.says("#lifecycle-body", "Used in answers")
    assert page.run("return document.documentElement.scrollWidth") <= width
    assert page.run("const d = document.getElementById('lifecycle'); return d.scrollWidth <= d.clientWidth")


def test_pages_that_were_left_hold_no_connections(page: Page, fleet: Fleet) -> None:
    for _ in range(8):  # a browser has six to a host, and keeps pages that were left for the way back
        page.live(fleet.url)
    page.one("#question").send_keys("P7 shows E42?", Keys.ENTER)
    page.says("#answer-state", "First token after")


def test_nothing_moves_for_those_who_want_that(page: Page, fleet: Fleet) -> None:
    page.prefer(**{"prefers-reduced-motion": "reduce"})
    page.live(fleet.url)
    learnt = fleet.learn(fleet.there, "Pump P6 shows E66.")
    page.eventually(lambda: page.all(f'.fresh[data-id="{learnt}"]'))
    name = "return getComputedStyle(document.querySelector('.fresh .record')).animationName"
    assert page.run(name) == "none"
    page.prefer(**{"prefers-reduced-motion": "no-preference"})
    assert page.run(name) == "arrive"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_no_barrier(page: Page, fleet: Fleet, axe: str, scheme: str, width: int) -> None:
    page.window(width, 800)
    page.prefer(**{"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"})
    page.live(fleet.url)
    page.one("#peers-details summary").click()
    page.one("#question").send_keys("P7 shows E42?", Keys.ENTER)
    page.says("#answer-state", "First token after")
    page.run(axe)
    check = """const done = arguments[arguments.length - 1];
        axe.run(document, {resultTypes: ["violations"]}).then(({violations, passes}) => done(
            [violations.map(({id, nodes}) => [id, nodes.map(({html, any}) => [html, any[0]?.data])]),
             passes.map(({id}) => id)]))"""
    violations, passes = page.driver.execute_async_script(check)
    assert violations == []
    assert "color-contrast" in passes
    page.one("#experiences .record").click()
    page.says("#lifecycle-body", "Used in answers")
    assert page.driver.execute_async_script(check)[0] == []
