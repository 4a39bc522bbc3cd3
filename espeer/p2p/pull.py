"""One pull: what a node says to a peer to get the records that it lacks, over any frames, and how it is answered.

Protocol ``/espeer/1/<network>/sync/2``. Only whoever begins pulls; for the other direction the other side begins. Type by type:

- ``["reconcile", type, message]`` is answered by ``["reconcile", message]``, or by ``["not-held"]``. The messages are those
  of :mod:`espeer.p2p.reconcile`.
- ``["get", type, ids]`` is answered by any number of ``["records", [record, ...]]`` and then ``["end", gone]``: the keys of
  those whose text the peer does not keep any more, or does not give away because their author took them back.
- ``["done", [type, ...]]`` ends it: the types of which the beginner holds what the other side lacks.

Records are verified and stored batch by batch, the newest first, so a pull that breaks off is continued by the next.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import trio

from espeer import records
from espeer.errors import BrokenPromise, FromTheFuture, ProtocolError, UnknownVersion
from espeer.keys import KEY_SIZE, STAMP_SIZE, KeySet, key_of
from espeer.p2p import reconcile
from espeer.p2p.claims import CLAIM_SECONDS, Claims
from espeer.p2p.door import Counters, Door
from espeer.p2p.frames import Frames
from espeer.p2p.gone import Gone, compared
from espeer.p2p.wire import byte_strings, pack, unpack
from espeer.records import ID_SIZE, MAX_CLOCK_SKEW_MS, SignedRecord, is_type
from espeer.tasks import in_thread

MAX_GET: Final = 1024
"""The most ids that may be asked for at a time."""
MAX_RECORDS: Final = 256
"""The most records of one frame."""
MAX_RECORDS_BYTES: Final = 256 * 1024
"""The most bytes of the records of one frame."""
MAX_ROUNDS: Final = 16_384
"""After so many messages about one type a pull is over, whatever is left."""
MAX_BARREN: Final = 256
"""After so many messages in a row that brought no record it is, too: a peer may claim without end what it does not give."""
MAX_LOOKED_AT: Final = 16_384
"""Of so many records that the peer lacks it is looked up in one pull whether we could give them."""
WORK_PER_MESSAGE: Final = 0.001
WORK_PER_BYTE: Final = 1.5e-6
WORK_PER_RECORD: Final = 0.0002
"""About how many seconds it takes to answer, at worst."""


@dataclass(frozen=True, slots=True)
class Pull:
    """The side that begins.

    :ivar peer_id: the other side.
    :ivar now_ms: our clock, milliseconds since the Unix epoch.
    :ivar gone: what the peer said it cannot give any more.
    :ivar withheld: what it lacks and we cannot give it any more.
    :ivar claims: what the pulls that run now are asking for.
    :ivar trusted: whether others are not asked for what this peer is asked for.
    :ivar brought: told how many new records were stored.
    :ivar again: told of other peers, once what they were not asked for did not come from this one.
    """

    frames: Frames
    door: Door
    peer_id: str
    now_ms: Callable[[], int]
    counters: Counters
    gone: Gone = field(default_factory=Gone)
    withheld: Gone = field(default_factory=Gone)
    claims: Claims = field(default_factory=Claims)
    trusted: bool = True
    brought: Callable[[int], None] = lambda _: None
    again: Callable[[str], None] = lambda _: None

    async def run(self, types: Sequence[str]) -> None:
        """Get what we lack of these types.

        :raises ProtocolError: the peer breaks the protocol.
        :raises RecordError: it sends a record that is refused.
        :raises NetworkError: it goes away or is too slow.
        :raises StoreError: there is no room.
        """
        ahead = [name for name in types if await self._pull(name)]
        await self.frames.send(pack(["done", ahead]))

    async def _pull(self, name: str) -> bool:
        """Get what we lack of a type; return whether we hold something that the peer lacks."""
        # made once: with each message anew it would take most of the node's time. What comes by other ways meanwhile is found
        # missing in here, and then known to the door.
        theirs, ours = self.gone.keys(self.peer_id, name), self.withheld.keys(self.peer_id, name)
        held = await self.door.keys(name)
        keys = await in_thread(lambda: compared(held, theirs=theirs, ours=ours))
        message: bytes | None = reconcile.opening(keys.snapshot())
        ahead = False
        rounds = barren = looked_at = 0
        while message is not None and rounds < MAX_ROUNDS and barren < MAX_BARREN:
            await self.frames.send(pack(["reconcile", name, message]))
            match unpack(await self.frames.receive()):
                case ["not-held"]:
                    return False
                case ["reconcile", bytes(answer)]:
                    found = reconcile.compare(keys.snapshot(), answer)
                case _:
                    raise ProtocolError("the peer sent something else than its part of a reconciliation")
            rounds += 1
            new = 0
            for some in _parts(found.need, MAX_GET):
                new += await self._get(name, some, keys)
            barren = 0 if new else barren + 1
            for some in _parts(found.have, MAX_GET):
                if not ahead or looked_at < MAX_LOOKED_AT:
                    looked_at += len(some)
                    ahead |= await self._could_give(name, some)
            message = found.reply
        self.counters.sync_checks += 1
        self.counters.sync_rounds += rounds
        return ahead

    async def _could_give(self, name: str, ids: Sequence[bytes]) -> bool:
        """Whether we keep some of these records, which the peer lacks; the others are noted."""
        gone = await self.door.withheld(name, ids)
        self.withheld.add(self.peer_id, name, gone)
        return len(gone) < len(ids)

    async def _get(self, name: str, ids: Sequence[bytes], keys: KeySet) -> int:
        """Get those of the ids that are not known and that nobody else is getting; return how many records were new."""
        unknown = await self.door.unknown(ids)
        self.withheld.discard(self.peer_id, name, set(ids).difference(unknown))  # it has them now
        seconds = CLAIM_SECONDS if self.trusted else 0.0
        wanted = self.claims.take(self.peer_id, unknown, trio.current_time(), seconds=seconds)
        if not wanted:
            return 0
        left = set(wanted)
        try:
            return await self._receive(name, wanted, left, keys)
        finally:
            for peer_id in self.claims.release(self.peer_id, wanted, left):
                self.again(peer_id)

    async def _receive(self, name: str, wanted: Sequence[bytes], left: set[bytes], keys: KeySet) -> int:
        """Receive what is wanted.

        :param left: what did not come yet.
        :param keys: what comes is added here.
        """
        await self.frames.send(pack(["get", name, b"".join(wanted)]))
        unreadable = new = 0
        while True:
            match unpack(await self.frames.receive(), max_items=MAX_RECORDS):
                case ["records", encoded]:
                    batch, early, strange = await in_thread(self._verify, byte_strings(encoded))
                case ["end", bytes(gone)] if len(gone) % KEY_SIZE == 0:
                    told = [gone[start : start + KEY_SIZE] for start in range(0, len(gone), KEY_SIZE)]
                    told = [key for key in told if key[STAMP_SIZE:] in left]
                    self.gone.add(self.peer_id, name, told)
                    for key in told:
                        keys.add(key)
                    if len(left - {key[STAMP_SIZE:] for key in told}) > unreadable:
                        raise BrokenPromise("the peer does not give records that it said it has")
                    return new
                case _:
                    raise ProtocolError("the peer sent something else than records")
            unreadable += strange
            for signed in (*batch, *early):
                if signed.record.type != name or signed.id not in left:
                    raise ProtocolError("the peer sent a record that it was not asked for")
                left.remove(signed.id)
                keys.add(key_of(signed.record.created, signed.id))
            if unreadable > len(left):
                raise ProtocolError("the peer sent more records than it was asked for")
            self._put_off(early)
            if batch:
                stored = await self.door.add(batch, via="sync")
                self.counters.synced_in += stored
                self.counters.duplicates += len(batch) - stored
                new += stored
                self.brought(stored)
            await trio.lowlevel.checkpoint()

    def _put_off(self, early: Sequence[SignedRecord]) -> None:
        """Leave records of the future where they are until their time has come, instead of fetching them with every pull."""
        now = trio.current_time()
        for signed in early:
            ahead = signed.record.created - MAX_CLOCK_SKEW_MS - self.now_ms()
            self.claims.put_off(signed.id, now + ahead / 1000, now)

    def _verify(self, encoded: Sequence[bytes]) -> tuple[list[SignedRecord], list[SignedRecord], int]:
        """Read records; return the good ones, those of the future, and how many are of another version.

        The clock that is wrong may be ours, and the espeer that is too old: neither must keep the good ones from us.
        """
        good, early, unreadable = [], [], 0
        for data in encoded:
            try:
                signed = records.load(data)
            except UnknownVersion:
                unreadable += 1
                continue
            try:
                records.verify(signed, now_ms=self.now_ms())
            except FromTheFuture:
                early.append(signed)
            else:
                good.append(signed)
        return good, early, unreadable


@dataclass(frozen=True, slots=True)
class Provider:
    """The side that answers. It keeps nothing in mind from one question to the next.

    :ivar types: the types that we hold.
    :ivar work: waits until this peer may cost us so many more seconds of work.
    """

    frames: Frames
    door: Door
    types: Sequence[str]
    counters: Counters
    work: Callable[[float], Awaitable[None]]

    async def run(self) -> list[str]:
        """Answer until the peer is done; return the types of which it holds something that we lack.

        :raises ProtocolError: the peer breaks the protocol.
        :raises NetworkError: it goes away or is too slow.
        """
        while True:
            match unpack(await self.frames.receive()):
                case ["reconcile", str(name), bytes(message)]:
                    await self._reconcile(name, message)
                case ["get", str(name), bytes(ids)] if name in self.types and 0 < len(ids) <= MAX_GET * ID_SIZE:
                    await self._give(name, ids)
                case ["done", list(ahead)] if all(type(name) is str for name in ahead):
                    return [name for name in self.types if name in ahead]
                case _:
                    raise ProtocolError("the peer sent something else than a part of a pull")

    async def _reconcile(self, name: str, message: bytes) -> None:
        await self.work(WORK_PER_MESSAGE + len(message) * WORK_PER_BYTE)
        if name in self.types:
            answer = reconcile.answer(await self.door.keys(name), message)
            await self.frames.send(pack(["reconcile", answer]))
        elif is_type(name):
            await self.frames.send(pack(["not-held"]))
        else:
            raise ProtocolError("the peer named something else than a type")

    async def _give(self, name: str, ids: bytes) -> None:
        if len(ids) % ID_SIZE:
            raise ProtocolError("the peer's ids are not ids")
        asked = [ids[start : start + ID_SIZE] for start in range(0, len(ids), ID_SIZE)]
        await self.work(len(asked) * WORK_PER_RECORD)
        gone = b""
        for some in _parts(asked, MAX_RECORDS):
            offer = await self.door.offer(name, some)
            gone += b"".join(offer.gone)
            for frame in _frames(offer.records):
                await self.frames.send(pack(["records", frame]))
                self.counters.synced_out += len(frame)
        await self.frames.send(pack(["end", gone]))


def _parts(items: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _frames(encoded: Sequence[bytes]) -> Iterator[list[Any]]:
    """Share records out to frames."""
    frame: list[bytes] = []
    size = 0
    for data in encoded:
        if frame and size + len(data) > MAX_RECORDS_BYTES:
            yield frame
            frame, size = [], 0
        frame.append(data)
        size += len(data)
    if frame:
        yield frame
