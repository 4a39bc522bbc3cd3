"""What is found, and what is known before anything is looked at (pure)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from espeer.config import Config
from espeer.settings import Service

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    :ivar check: what was looked at.
    :ivar said: what was found.
    :ivar advice: what to do about it; nothing where it is as it should be.
    """

    check: str
    state: State
    said: str
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What the checks begin with.

    :ivar config: the settings that a node started now would have.
    :ivar status: what the node that runs on the data folder says of itself; None where none answers.
    :ivar peers: the peers that it is connected to.
    :ivar now_ms: the time, in milliseconds since the Unix epoch.
    :ivar network: whether other machines may be asked.
    """

    config: Config
    service: Service
    status: Mapping[str, Any] | None = None
    peers: Sequence[Mapping[str, Any]] = field(default=())
    now_ms: int
    network: bool = False
