"""What a node stands on: a disk, an identity, a network. A simulation puts others in their place."""

import random
from dataclasses import dataclass, field

from espeer.p2p.host import OpenNode, open_node
from espeer.p2p.identity import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What a node stands on; by default what is real.

    :ivar on_disk: keep things in the data folder; else all of it is in memory, and gone at the end.
    :ivar identity: in place of the folder's.
    :ivar enter: how it gets into the network.
    :ivar rng: spreads rounds over time; nothing secret.
    """

    on_disk: bool = True
    identity: Identity | None = None
    enter: OpenNode = open_node
    rng: random.Random = field(default_factory=random.Random)
