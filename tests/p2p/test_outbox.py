import pytest
import trio
import trio.testing
from replicas import record, records

from espeer.p2p.outbox import Outbox, Pace


async def test_it_groups_by_type_and_takes_turns() -> None:
    outbox = Outbox(1000)
    many, few = records(70), records(2, kind="networking")
    assert outbox.put([*many, *few]) == 0
    assert await outbox.take() == ("biology", many[:64])
    assert await outbox.take() == ("networking", few)
    assert await outbox.take() == ("biology", many[64:])
    assert len(outbox) == 0


async def test_it_is_bounded() -> None:
    outbox = Outbox(3)
    batch = records(5)
    assert outbox.put(batch) == 2
    assert outbox.put(batch) == 5
    assert await outbox.take() == ("biology", batch[:3])
    assert outbox.put(batch[:1]) == 0


async def test_taking_waits(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    outbox = Outbox(3)
    one = record(1)

    async def later() -> None:
        await trio.sleep(5)
        outbox.put([one])

    nursery.start_soon(later)
    assert await outbox.take() == ("biology", [one])
    assert autojump_clock.current_time() == pytest.approx(5)


async def test_the_pace_is_kept(autojump_clock: trio.testing.MockClock) -> None:
    pace = Pace(20, 5)
    times = []
    for _ in range(9):
        await pace.wait()
        times.append(autojump_clock.current_time())
    assert times == pytest.approx([0, 0, 0, 0, 0, 0.05, 0.1, 0.15, 0.2])
    await trio.sleep(10)
    before = autojump_clock.current_time()
    for _ in range(6):
        await pace.wait()
    assert autojump_clock.current_time() - before == pytest.approx(0.05)
