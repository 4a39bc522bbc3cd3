"""What a node goes through, before anything is distilled from it (pure)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interaction:
    """One raw exchange. It never leaves the node.

    :ivar id: its number in the store; 0 before it is stored.
    :ivar created: milliseconds since the Unix epoch.
    :ivar query: what was asked or observed.
    :ivar response: what was answered or tried; may be empty.
    :ivar feedback: what the outcome was; may be empty.
    :ivar source: "user" or "answer", who brought it.
    :ivar type: the topic type that its user named, or "".
    """

    id: int
    created: int
    query: str
    response: str = ""
    feedback: str = ""
    source: str = "user"
    type: str = ""
