"""Who may be connected to us: the operator's lists, and whoever is banned for what it did (pure)."""

from collections.abc import Callable, Iterable


def _nobody(_peer_id: str) -> bool:
    return False


class Gate:
    """Says whether a peer is admitted. It is asked before dialling, and right after every handshake, whoever dialled.

    :param allow: peer ids; if there are any, nobody else is admitted.
    :param deny: peer ids that are never admitted, allowed or not.
    :param banned: whether a peer is banned at the moment.
    """

    def __init__(self, *, allow: Iterable[str] = (), deny: Iterable[str] = (), banned: Callable[[str], bool] = _nobody) -> None:
        self._allow = frozenset(allow)
        self._deny = frozenset(deny)
        self._banned = banned

    def admits(self, peer_id: str) -> bool:
        """Whether we want to be connected to the peer now."""
        if peer_id in self._deny or (self._allow and peer_id not in self._allow):
            return False
        return not self._banned(peer_id)
