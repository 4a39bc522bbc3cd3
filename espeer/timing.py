"""When a question came, how long it may take, and where the time to its first token went."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from espeer.errors import ModelTimeout


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Where the time to the first token of an answer went, in milliseconds; the parts make up the whole.

    :ivar recall: finding experiences in the index here.
    :ivar network: waiting for other nodes' experiences, beyond that.
    :ivar classify: settling the question's topic type. It is that of the evidence, so this takes no model.
    :ivar pack: putting the prompt together.
    :ivar queue: until the model began with it.
    :ivar prefill: until the first piece: reading the prompt, beside other questions that share the model's steps.
    """

    recall: float
    network: float
    classify: float
    pack: float
    queue: float
    prefill: float


@dataclass(frozen=True, slots=True)
class Clock:
    """When a question came, by trio's clock, and how many seconds it may take: the time to first token counts from then."""

    started: float
    seconds: float

    @property
    def deadline(self) -> float:
        """When its time is over."""
        return self.started + self.seconds

    @property
    def elapsed_ms(self) -> float:
        """Milliseconds since it came."""
        return (trio.current_time() - self.started) * 1000

    @property
    def late(self) -> ModelTimeout:
        """Say that its time is over."""
        return ModelTimeout(
            f"the model did not begin to answer within {self.seconds:g} s; allow it more, or try again when it has less to do"
        )

    @contextmanager
    def in_time(self) -> Iterator[None]:
        """Break the block off when the time is over.

        :raises ModelTimeout: then.
        """
        with trio.move_on_at(self.deadline) as scope:
            yield
        if scope.cancelled_caught:
            raise self.late
