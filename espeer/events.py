"""What happens in a node, told to whoever watches it in this process: the dashboard, the metrics, an app around the node."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from espeer.asking import Ending
from espeer.log import get_logger

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A record came into the replica.

    :ivar id: its id, hexadecimal.
    :ivar kind: "experience" or "retraction".
    :ivar author: its public key.
    :ivar via: the way it came, see :class:`espeer.replica.Held`.
    """

    id: str
    kind: Literal["experience", "retraction"]
    type: str
    author: bytes
    via: str


@dataclass(frozen=True, slots=True)
class Answered:
    """A question was answered.

    :ivar answer: the interaction's number; None if it was not kept.
    :ivar used: ids (hexadecimal) of the experiences in the prompt, best first.
    :ivar ttft_ms: milliseconds to the first piece of the answer.
    :ivar elapsed_ms: milliseconds to its end, the model's judgement of it left out.
    :ivar prompt_tokens, answer_tokens: what the model read, and what it wrote.
    """

    answer: int | None
    used: tuple[str, ...]
    finish: Ending
    ttft_ms: float
    elapsed_ms: float
    prompt_tokens: int
    answer_tokens: int


@dataclass(frozen=True, slots=True)
class Refined:
    """A refinement run ended.

    :ivar run: its number.
    :ivar before, after: active experiences.
    :ivar condensed: experiences that it made of groups of others.
    :ivar merged: groups that one of their own members stands for.
    :ivar evicted: experiences for which there was no room.
    """

    run: int
    before: int
    after: int
    seconds: float
    condensed: int = 0
    merged: int = 0
    evicted: int = 0


@dataclass(frozen=True, slots=True)
class Linked:
    """A peer was connected, or went."""

    peer_id: str
    connected: bool


Event = Recorded | Answered | Refined | Linked


class Events:
    """Tells listeners of events, in the event loop's thread. A listener must not block; one that fails is only logged."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Event], None]] = []

    def emit(self, event: Event) -> None:
        """Tell of an event."""
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception:
                log.exception("a listener failed", kind=type(event).__name__)

    @contextmanager
    def listening(self, listener: Callable[[Event], None]) -> Iterator[None]:
        """Have a listener told within the block."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)
