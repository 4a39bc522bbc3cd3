"""Nurseries whose block's errors come out as they are."""

import pytest
import trio

from espeer.tasks import background, in_thread


async def test_tasks_end_with_the_block() -> None:
    with trio.fail_after(5):
        async with background() as nursery:
            nursery.start_soon(trio.sleep_forever)


async def test_what_the_block_raises_comes_out_as_it_is() -> None:
    error = KeyError("mine")
    with pytest.raises(KeyError) as caught:  # noqa: PT012 - the block is what is tested
        async with background() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise error
    assert caught.value is error


async def test_what_a_task_raises_is_not_swallowed() -> None:
    async def fail() -> None:
        raise KeyError

    with pytest.raises(ExceptionGroup):  # noqa: PT012 - the block is what is tested
        async with background() as nursery:
            nursery.start_soon(fail)
            await trio.sleep_forever()


async def test_cancelling_passes_through() -> None:
    with trio.move_on_after(0) as scope:
        async with background():
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_a_thread_gives_its_result_or_its_error() -> None:
    assert await in_thread(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await in_thread(divmod, 1, 0)


async def test_a_failure_does_not_vanish_where_the_block_is_cancelled_meanwhile() -> None:
    error = KeyError("mine")
    with trio.CancelScope() as scope, pytest.raises(KeyError) as caught:  # noqa: PT012 - the block is what is tested
        async with background() as nursery:
            nursery.start_soon(trio.sleep_forever)
            scope.cancel()
            raise error
    assert caught.value is error
