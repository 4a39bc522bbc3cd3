"""What a node tells those who watch it."""

from pathlib import Path

from espeer import Config, FakeModel, Node
from espeer.events import Answered, Event, Events, Linked, Recorded, Refined


async def test_a_node_tells_of_what_it_learns_answers_and_refines(tmp_path: Path) -> None:
    told: list[Event] = []
    async with Node(Config(data=tmp_path, offline=True, refining=False), model=FakeModel()) as node:
        with node.events.listening(told.append):
            learnt = await node.learn("Pump P7 shows E42.", feedback="Purge the line.", wait=True)
            answer = await node.ask("P7 shows E42?")
            outcome = await node.refine()
        await node.ask("Nobody listens.")
    recorded, answered, refined = told
    assert isinstance(recorded, Recorded)
    assert (recorded.id, recorded.kind, recorded.via) == (learnt.experience, "experience", "own")
    assert isinstance(answered, Answered)
    assert (answered.answer, answered.used, answered.finish) == (answer.id, (learnt.experience,), answer.finish)
    assert 0 <= answered.ttft_ms <= answered.elapsed_ms
    assert answered.prompt_tokens > answered.answer_tokens > 0
    assert refined == Refined(outcome.run, 1, 1, outcome.seconds)


def test_a_listener_that_fails_keeps_nothing_from_the_others() -> None:
    events, told = Events(), []

    def fail(_: Event) -> None:
        raise ValueError

    with events.listening(fail), events.listening(told.append):
        events.emit(Linked("peer", connected=True))
    assert told == [Linked("peer", connected=True)]
