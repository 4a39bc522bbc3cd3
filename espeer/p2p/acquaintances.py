"""The peers that we were connected to, to find the network again when nobody else is left to ask (pure).

What we dialled ourselves is known to be true. Who connected to us only says where it listens: of these there are fewer, and
they never push out the others. Times are milliseconds since the Unix epoch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgpack

from espeer.errors import BadAddress
from espeer.p2p.addresses import MAX_ADDRESS, PeerAddress, parse_peer

MAX_DIALLED: Final = 128
"""How many peers are remembered that we dialled."""
MAX_TOLD: Final = 64
"""How many that connected to us."""
MAX_ADDRESSES: Final = 4
"""How many addresses are remembered of each."""
MEMORY_MS: Final = 30 * 24 * 3600 * 1000
"""A peer that does not answer is forgotten when it was not seen for so long."""
FRESH_MS: Final = 600 * 1000
"""How much later a peer must be seen again for that to be worth writing down."""
MAX_FILE: Final = 512 * 1024
"""The most bytes of a table in its encoded form."""

_VERSION: Final = 1


@dataclass(slots=True)
class Acquaintance:
    """A peer that was connected.

    :ivar addresses: where it listens, that which answered last first.
    :ivar dialled: whether one of them answered us.
    :ivar seen: when it was connected last.
    :ivar failed: when we gave up on it; 0 if it was seen since.
    """

    addresses: list[PeerAddress]
    dialled: bool
    seen: int
    failed: int = 0


class Acquaintances:
    """The table of them.

    :ivar changed: whether there is something that is worth keeping since this was last set to False.
    """

    def __init__(self) -> None:
        self.changed = False
        self._peers: dict[str, Acquaintance] = {}

    def __contains__(self, peer_id: str) -> bool:
        """Whether we were connected to the peer."""
        return peer_id in self._peers

    def __len__(self) -> int:
        """How many there are."""
        return len(self._peers)

    def met(self, peer_id: str, addresses: Sequence[PeerAddress], now: int, *, dialled: bool) -> None:
        """Note that a peer is connected.

        :param addresses: where it listens; if it was dialled, the first is where.
        """
        if not addresses:
            return
        known = self._peers.get(peer_id)
        if known is None:
            known = self._peers[peer_id] = Acquaintance([], dialled, 0)
        told = list(dict.fromkeys([*addresses, *(known.addresses if known.dialled else ())]))[:MAX_ADDRESSES]
        if known.dialled and not dialled:  # what answered us once stays first
            told = list(dict.fromkeys([known.addresses[0], *told]))[:MAX_ADDRESSES]
        self.changed |= told != known.addresses or now - known.seen > FRESH_MS or bool(known.failed) or dialled > known.dialled
        known.addresses, known.dialled, known.failed = told, known.dialled or dialled, 0
        known.seen = max(known.seen, now)
        self._forget(dialled=known.dialled, most=MAX_DIALLED if known.dialled else MAX_TOLD)

    def failed(self, peer_id: str, now: int) -> None:
        """Note that a peer answers no more."""
        known = self._peers.get(peer_id)
        if known is None:
            return
        self.changed = True
        known.failed = now
        if now - known.seen > MEMORY_MS:
            del self._peers[peer_id]

    def best(self) -> list[tuple[str, list[PeerAddress]]]:
        """Who to try, best first, and where."""
        order = sorted(self._peers.items(), key=lambda item: (-item[1].dialled, bool(item[1].failed), -item[1].seen))
        return [(peer_id, list(known.addresses)) for peer_id, known in order]

    def _forget(self, *, dialled: bool, most: int) -> None:
        """Make room: those that failed go first, the longest unseen of them, then whoever was not seen for longest."""
        alike = {peer_id: known for peer_id, known in self._peers.items() if known.dialled is dialled}
        if len(alike) > most:
            del self._peers[min(alike, key=lambda peer_id: (not alike[peer_id].failed, alike[peer_id].seen))]

    def encode(self) -> bytes:
        """The table as bytes."""
        peers = [
            [[str(address) for address in known.addresses], known.dialled, known.seen, known.failed]
            for known in self._peers.values()
        ]
        data: bytes = msgpack.packb([_VERSION, peers])
        return data

    @classmethod
    def decode(cls, data: bytes) -> "Acquaintances":
        """Read a table.

        :raises ValueError: it is none.
        """
        if len(data) > MAX_FILE:
            raise ValueError(f"more than {MAX_FILE} bytes")
        table = cls()
        try:
            match msgpack.unpackb(data, max_str_len=MAX_ADDRESS, max_map_len=0, max_ext_len=0):
                case [1, list(peers)] if len(peers) <= MAX_DIALLED + MAX_TOLD:
                    for peer in peers:
                        table._take(peer)
                case _:
                    raise ValueError("not a table of peers")
        except (msgpack.UnpackException, BadAddress) as error:
            raise ValueError(f"not a table of peers: {error}") from error
        return table

    def _take(self, peer: object) -> None:
        match peer:
            case [list(texts), bool(dialled), int(seen), int(failed)] if 0 < len(texts) <= MAX_ADDRESSES:
                addresses = [parse_peer(str(text)) for text in texts]
            case _:
                raise ValueError("not a peer")
        if len({address.peer_id for address in addresses}) > 1:
            raise ValueError("addresses of several peers")
        self._peers[addresses[0].peer_id] = Acquaintance(addresses, dialled, seen, failed)
