"""What a new page of the dashboard is told of the time before it came (pure)."""

from collections import deque
from dataclasses import asdict
from typing import Any, Final

from espeer.events import Answered, Event, Refined
from espeer.status import Status

KEPT: Final = 240
"""Points of each curve."""


class History:
    """The latest answers, refinement runs and sizes of the store; times are milliseconds since the Unix epoch."""

    def __init__(self) -> None:
        self._answers: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._sizes: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._runs: deque[dict[str, Any]] = deque(maxlen=KEPT)

    def add(self, at: int, event: Event) -> None:
        """Take in what happened."""
        match event:
            case Answered():
                self._answers.append({"at": at, "ttft_ms": round(event.ttft_ms, 1)})
            case Refined():
                self._runs.append(asdict(event))
            case _:
                pass

    def sample(self, at: int, status: Status) -> None:
        """Take in how large the store is."""
        active = sum(number for _, state, number in status.records if state == "active")
        self._sizes.append({"at": at, "experiences": active, "bytes": status.store_bytes})

    def told(self) -> dict[str, Any]:
        """Return all of it, oldest first."""
        return {"answers": list(self._answers), "sizes": list(self._sizes), "runs": list(self._runs)}
