"""What other nodes do for us and we for them, beside keeping replicas alike: recall and submissions."""

from collections.abc import Callable, Sequence

from espeer.errors import NetworkError
from espeer.log import get_logger
from espeer.p2p.host import Node
from espeer.p2p.local import Local
from espeer.p2p.remote import Remote, Replies
from espeer.p2p.submit import Submissions, Verdict
from espeer.records import SignedRecord

log = get_logger(__name__)


class Others:
    """Recalls from connected nodes and submits to them; answers and takes what they ask and submit.

    :param servers: peer ids; a client asks these in this order and nobody else, and submits to them.
    :param accept: take what clients submit.
    :param taken: told of records that came by a submission and were stored.
    """

    def __init__(
        self,
        local: Local,
        *,
        servers: Sequence[str],
        accept: bool,
        taken: Callable[[Sequence[SignedRecord]], None],
    ) -> None:
        self._local = local
        self._links = local.links
        self._servers = tuple(dict.fromkeys(servers))
        self._node: Node | None = None
        self._remote = Remote(local, holders=self._holders)
        self._submissions = Submissions(local, accept=accept, taken=taken)

    def serve(self, node: Node) -> None:
        """Answer over ``node`` from now on, and ask over it."""
        self._node = node
        self._remote.serve(node)
        self._submissions.serve(node)

    def leave(self) -> None:
        """There is no node any more."""
        self._node = None

    def subscribers(self, type: str) -> set[str]:
        """The connected peers that subscribe to a type, and so hold it; of a client, its servers among them."""
        if self._node is None:
            return set()
        peers = {str(peer) for peer in self._node.pubsub.peer_topics.get(self._local.topic(type), ())} & self._links.up
        return peers.intersection(self._servers) if self._servers else peers

    def types_known(self) -> list[str]:
        """The types that connected nodes hold, by what they subscribe to; those that most hold first."""
        topics = list(self._node.pubsub.peer_topics) if self._node else []
        holders = {name: len(self.subscribers(name)) for name in map(self._local.type_of, topics) if name is not None}
        return sorted((name for name in holders if holders[name]), key=lambda name: (-holders[name], name))

    async def recall(self, query: str, k: int, types: Sequence[str], *, seconds: float, patient: bool) -> Replies:
        """See :meth:`espeer.p2p.remote.Remote.recall`."""
        if self._node is None:
            return Replies((), tuple(types))
        return await self._remote.recall(self._node, query, k, types, seconds=seconds, patient=patient)

    async def server(self) -> None:
        """Wait until a server is connected."""
        await self._links.wait_for(lambda up: not up.isdisjoint(self._servers))

    async def submit(self, batch: Sequence[SignedRecord]) -> list[Verdict]:
        """Hand a batch to the first server that takes it; what that one does not hold goes to the next.

        :returns: for each record, what became of it at the last server that it was given to.
        :raises NetworkError: no server took any of it.
        """
        verdicts = [Verdict.NOT_HELD] * len(batch)
        failure, answered = NetworkError("no server is connected"), False
        for peer_id in filter(self._links.up.__contains__, self._servers):
            left = [place for place, verdict in enumerate(verdicts) if verdict is not Verdict.STORED]
            if not left or self._node is None:
                break
            try:
                replies = await self._submissions.submit(self._node, peer_id, [batch[place] for place in left])
            except NetworkError as error:
                log.debug("a server does not take a submission", server=peer_id, reason=str(error))
                failure = error
                continue
            answered = True
            for place, verdict in zip(left, replies, strict=True):
                verdicts[place] = verdict
        if not answered:
            raise failure
        if Verdict.STORED in verdicts:
            self._remote.forget()  # there is something new
        return verdicts

    def _holders(self, type: str) -> list[str]:
        """Whom to ask about a type: the servers in their order, or else the peers that subscribe to it, in any."""
        if self._servers:
            return [peer_id for peer_id in self._servers if peer_id in self._links.up]
        holders = sorted(self.subscribers(type))
        return self._local.rng.sample(holders, len(holders))
