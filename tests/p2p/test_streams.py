import pytest
import trio
import trio.testing

from espeer.p2p.streams import PART_SECONDS, close, reset


class Stubborn:
    """A stream that does not end."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    async def close(self) -> None:
        if self.error:
            raise self.error
        await trio.sleep_forever()

    reset = close


@pytest.mark.parametrize("end", [close, reset])
async def test_a_stream_that_does_not_end_is_left_after_a_while(end: object, autojump_clock: trio.testing.MockClock) -> None:
    await end(Stubborn())
    assert autojump_clock.current_time() == pytest.approx(PART_SECONDS)
    with trio.move_on_after(0):
        await end(Stubborn())
    assert autojump_clock.current_time() == pytest.approx(2 * PART_SECONDS)


@pytest.mark.parametrize("end", [close, reset])
async def test_one_that_is_gone_is_gone(end: object) -> None:
    await end(Stubborn(RuntimeError("it was closed")))
