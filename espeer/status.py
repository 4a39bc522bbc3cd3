"""What a node says of itself and of what it was given (pure)."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Learnt:
    """What became of something learnt.

    :ivar interaction: its number in the store.
    :ivar experience: the id (hexadecimal) of the experience that it went into, or None while its episode is open.
    """

    interaction: int
    experience: str | None


@dataclass(frozen=True, slots=True)
class Retracted:
    """What was taken back: the ids (hexadecimal) of the experience and of the retraction."""

    experience: str
    retraction: str


@dataclass(frozen=True, slots=True)
class Status:
    """How a node is doing.

    :ivar version: of espeer.
    :ivar role: "peer", "server" or "client".
    :ivar private: whether only nodes with the network's key can connect.
    :ivar prompts: version of the prompts, :data:`espeer.lifecycle.prompts.VERSION`.
    :ivar records: (type, state, number) of the records held.
    :ivar store_bytes: what the store takes on disk.
    :ivar methods: how many of the node's own experiences came about by each method, see :data:`espeer.records.METHODS`.
    :ivar interactions: how many there are in the store.
    :ivar learning: interactions and episodes that are not distilled yet.
    :ivar queued: a client's experiences that no server has yet.
    :ivar waiting: requests that wait for the model.
    :ivar waiting_by_priority: the same, of each priority: "interactive", "distil", "refine", "warm".
    :ivar busy_by_priority: seconds that the model has worked since the start, for requests of each priority.
    :ivar engine: what the model keeps in its caches, and how often that was of use; names and numbers.
    :ivar network: what went over the network since the start.
    """

    version: str
    peer_id: str
    addresses: tuple[str, ...]
    network_name: str
    role: str
    private: bool
    types: tuple[str, ...]
    model: str
    prompts: int
    peers: int
    records: tuple[tuple[str, str, int], ...]
    store_bytes: int
    methods: dict[str, int]
    interactions: int
    learning: int
    queued: int
    waiting: int
    waiting_by_priority: dict[str, int] = field(default_factory=dict)
    busy_by_priority: dict[str, float] = field(default_factory=dict)
    engine: dict[str, Any] = field(default_factory=dict)
    network: dict[str, int] = field(default_factory=dict)
