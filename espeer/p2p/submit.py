"""Submissions: a client hands its experiences to a server (protocol ``/espeer/1/<network>/submit/1``).

One batch of signed records and one reply a stream. The reply comes when the server's store has the records, so what is
acknowledged is not lost; a batch that is sent again, because its reply was, does no harm.
"""

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, Final

import trio

from espeer import records
from espeer.errors import FromTheFuture, NetworkError, ProtocolError, StoreError, UnknownVersion
from espeer.log import get_logger
from espeer.p2p.conversations import Conversations
from espeer.p2p.frames import Frames
from espeer.p2p.host import Node
from espeer.p2p.limits import Bucket, Buckets
from espeer.p2p.local import Local
from espeer.p2p.wire import MAX_BATCH_RECORDS, byte_strings, pack, unpack
from espeer.records import MAX_RECORD, SignedRecord

MAX_SUBMISSION: Final = MAX_BATCH_RECORDS * (MAX_RECORD + 8) + 64
"""The most bytes of a frame of this protocol."""
SUBMIT_SECONDS: Final = 30.0
"""How long handing over a batch may take."""
RATE, BURST = 100.0, 512.0
"""Records that one peer may submit: a second, and at once."""
RATE_OF_ALL, BURST_OF_ALL = 400.0, 2048.0
"""The same for all peers together."""

log = get_logger(__name__)


class Verdict(IntEnum):
    """What became of a submitted record; the numbers stand in the reply."""

    STORED = 0
    """The server's store has it."""
    NOT_HELD = 1
    """The server does not hold its type."""
    NOT_YET = 2
    """The server's clock says that it is from the future."""
    UNREADABLE = 3
    """The server's espeer does not read its version."""


def encode_submission(batch: Sequence[SignedRecord]) -> bytes:
    """A batch of records as a frame's payload."""
    return pack(["submit", [records.encode(signed) for signed in batch]])


def decode_submission(data: bytes) -> list[bytes]:
    """Read a batch; its records are not looked at.

    :raises ProtocolError: it is no batch, or over a limit.
    """
    match unpack(data):
        case ["submit", encoded]:
            return byte_strings(encoded)
        case _:
            raise ProtocolError("the peer sent something else than a submission")


def encode_verdicts(verdicts: Sequence[Verdict]) -> bytes:
    """The reply to a batch."""
    return pack(["took", [int(verdict) for verdict in verdicts]])


def decode_verdicts(data: bytes, count: int) -> list[Verdict]:
    """Read the reply to a batch of ``count`` records.

    :raises NetworkError: the server cannot take it now.
    :raises ProtocolError: it is no reply to it.
    """
    match unpack(data):
        case ["took", list(numbers)] if len(numbers) == count and all(_is_verdict(number) for number in numbers):
            return [Verdict(number) for number in numbers]
        case ["busy"]:
            raise NetworkError("the server is busy")
        case ["failed"]:
            raise NetworkError("the server cannot store anything; its log says why")
        case _:
            raise ProtocolError("the server sent something else than the reply to a submission")


def _is_verdict(number: Any) -> bool:
    return type(number) is int and number in list(Verdict)


class Submissions:
    """Takes submissions, and makes them.

    :param accept: whether to take any.
    :param taken: told of records that were stored here.
    """

    def __init__(self, local: Local, *, accept: bool, taken: Callable[[Sequence[SignedRecord]], None]) -> None:
        self._local = local
        self._accept = accept
        self._taken = taken
        self._conversations = Conversations(
            local.named("submit/1"), blame=local.blame, seconds=SUBMIT_SECONDS, limit=MAX_SUBMISSION
        )
        self._of_all = Bucket(RATE_OF_ALL, BURST_OF_ALL, 0.0)
        self._of_peers: Buckets[str] = Buckets(RATE, BURST)

    def serve(self, node: Node) -> None:
        """Take submissions from now on, if that is wanted."""
        if self._accept:
            self._conversations.serve(node, self._answer)

    async def submit(self, node: Node, peer_id: str, batch: Sequence[SignedRecord]) -> list[Verdict]:
        """Hand a batch of at most :data:`MAX_BATCH_RECORDS` to a server; return what became of each.

        :raises NetworkError: it does not take it now.
        """
        async with self._conversations.open(node, peer_id) as frames:
            await frames.send(encode_submission(batch))
            verdicts = decode_verdicts(await frames.receive(), len(batch))
        self._local.counters.submitted += verdicts.count(Verdict.STORED)
        return verdicts

    async def _answer(self, peer_id: str, frames: Frames) -> None:
        encoded = decode_submission(await frames.receive())
        now, cost = trio.current_time(), len(encoded)
        if not (self._of_peers.take(peer_id, now, cost) and self._of_all.take(now, cost)):
            await frames.send(pack(["busy"]))
            return
        judged = [self._judge(data) for data in encoded]
        good = [one for one in judged if isinstance(one, SignedRecord)]
        try:
            new = await self._local.door.add(good, via="submit") if good else 0
        except StoreError as error:
            log.warning("a submission was not stored", peer=peer_id, reason=str(error))
            await frames.send(pack(["failed"]))
            return
        self._local.counters.accepted += len(good)
        self._local.counters.duplicates += len(good) - new
        if new:
            self._taken(good)
        await frames.send(encode_verdicts([one if isinstance(one, Verdict) else Verdict.STORED for one in judged]))

    def _judge(self, data: bytes) -> SignedRecord | Verdict:
        """Verify a record; what the sender cannot be blamed for is a verdict.

        :raises RecordError: the record is refused.
        """
        try:
            signed = records.decode(data, now_ms=self._local.now_ms())
        except FromTheFuture:
            return Verdict.NOT_YET
        except UnknownVersion:
            return Verdict.UNREADABLE
        return signed if signed.record.type in self._local.types else Verdict.NOT_HELD
