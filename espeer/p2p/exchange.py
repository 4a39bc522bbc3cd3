"""What two peers say to each other to come to hold the same records: the whole exchange, over any frames.

Both greet. Then for each type that both hold, in byte order, one after the other: the initiator lists its ids, the
responder lists its own, the responder sends what the initiator lacks, the initiator sends what the responder lacks. Both
know both lists, so nobody needs to ask. Last, the responder says that it has stored everything. Only one side speaks at a
time: two that both wrote and waited to be read would wait for ever.

Records are verified and stored batch by batch, so an exchange that breaks off is continued by the next.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import trio

from espeer import records
from espeer.errors import FromTheFuture, ProtocolError
from espeer.p2p.addresses import MAX_ADDRESS
from espeer.p2p.door import Counters, Door
from espeer.p2p.wire import MAX_BATCH_RECORDS, Frames, byte_strings, pack, unpack
from espeer.records import ID_SIZE, SignedRecord, is_type

MAX_IDS: Final = 250_000
"""The most ids a peer may claim to hold of one type."""
MAX_TYPES: Final = 256
MAX_ADDRESSES: Final = 32
_IDS_PER_FRAME: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Hello:
    """How a peer greets.

    :ivar types: the types it holds, in byte order.
    :ivar listen: where it listens itself, as multiaddrs.
    :ivar peers: where peers listen that it is connected to.
    """

    types: tuple[str, ...]
    listen: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Exchange:
    """One side of an exchange.

    :ivar hello: how we greet.
    :ivar now_ms: our clock, milliseconds since the Unix epoch.
    :ivar greeted: called with the peer's greeting.
    """

    frames: Frames
    door: Door
    hello: Hello
    now_ms: Callable[[], int]
    greeted: Callable[[Hello], None]
    counters: Counters

    async def initiate(self) -> None:
        """Exchange with a peer that responds.

        :raises ProtocolError: the peer breaks the protocol.
        :raises RecordError: it sends a record that is refused.
        :raises NetworkError: it goes away or is too slow.
        """
        await self._say("hello", *_fields(self.hello))
        theirs = await self._hear_hello()
        for name in _common(self.hello, theirs):
            mine = set(await self.door.ids(name))
            await self._say_ids(mine)
            claimed = await self._hear_ids()
            await self._hear_records(name, claimed - mine)
            await self._say_records(mine - claimed)
        await self._hear("done", 0)

    async def respond(self) -> None:
        """Exchange with a peer that initiates. Raises as :meth:`initiate`."""
        theirs = await self._hear_hello()
        await self._say("hello", *_fields(self.hello))
        for name in _common(self.hello, theirs):
            claimed = await self._hear_ids()
            mine = set(await self.door.ids(name))
            await self._say_ids(mine)
            await self._say_records(mine - claimed)
            await self._hear_records(name, claimed - mine)
        await self._say("done")

    async def _say(self, kind: str, *fields: Any) -> None:
        await self.frames.send(pack([kind, *fields]))

    async def _hear(self, kind: str, fields: int) -> list[Any]:
        message = unpack(await self.frames.receive(), max_items=MAX_TYPES)
        if not isinstance(message, list) or len(message) != 1 + fields or message[0] != kind:
            raise ProtocolError(f"the peer sent something else than {kind!r}")
        return message[1:]

    async def _hear_hello(self) -> Hello:
        types, listen, peers = await self._hear("hello", 3)
        hello = Hello(_strings(types, MAX_TYPES), _strings(listen, MAX_ADDRESSES), _strings(peers, MAX_ADDRESSES))
        if not all(map(is_type, hello.types)):
            raise ProtocolError("the peer's types are not types")
        self.greeted(hello)
        return hello

    async def _say_ids(self, ids: Iterable[bytes]) -> None:
        rest = iter(ids)
        while chunk := list(islice(rest, _IDS_PER_FRAME)):
            await self._say("ids", b"".join(chunk))
        await self._say("ids", b"")

    async def _hear_ids(self) -> set[bytes]:
        claimed: set[bytes] = set()
        while True:
            (chunk,) = await self._hear("ids", 1)
            if type(chunk) is not bytes or len(chunk) % ID_SIZE:
                raise ProtocolError("the peer's ids are not ids")
            if not chunk:
                return claimed
            claimed.update(chunk[start : start + ID_SIZE] for start in range(0, len(chunk), ID_SIZE))
            if len(claimed) > MAX_IDS:
                raise ProtocolError(f"the peer claims to hold more than {MAX_IDS:,} records of a type")

    async def _say_records(self, ids: Iterable[bytes]) -> None:
        rest = iter(ids)
        while chunk := list(islice(rest, MAX_BATCH_RECORDS)):
            batch = await self.door.get(chunk)
            if batch:  # a record may have gone since its id was listed
                await self._say("records", [records.encode(signed) for signed in batch])
                self.counters.synced_out += len(batch)
        await self._say("end")

    async def _hear_records(self, name: str, expected: set[bytes]) -> None:
        """Store what the peer sends of type ``name``; each of the ``expected`` ids may come once, nothing else may."""
        left = len(expected)
        while True:
            message = unpack(await self.frames.receive())
            match message:
                case ["end"]:
                    return
                case ["records", encoded]:
                    given = byte_strings(encoded)
                    left -= len(given)
                    if left < 0:  # records ahead of our clock are not taken, but they count
                        raise ProtocolError("the peer sent more records than it had reason to send")
                    batch = self._verify(given, name, expected)
                case _:
                    raise ProtocolError("the peer sent something else than records")
            if batch:
                new = await self.door.add(batch, via="sync")
                self.counters.synced_in += new
                self.counters.duplicates += len(batch) - new
            await trio.lowlevel.checkpoint()

    def _verify(self, encoded: Sequence[bytes], name: str, expected: set[bytes]) -> list[SignedRecord]:
        batch = []
        for data in encoded:
            try:
                signed = records.decode(data, now_ms=self.now_ms())
            except FromTheFuture:
                continue  # our clock may be the wrong one; the others are good, and this one will be in time
            if signed.record.type != name or signed.id not in expected:
                raise ProtocolError("the peer sent a record that it had no reason to send")
            expected.remove(signed.id)
            batch.append(signed)
        return batch


def _fields(hello: Hello) -> tuple[list[str], list[str], list[str]]:
    return list(hello.types), list(hello.listen[:MAX_ADDRESSES]), list(hello.peers[:MAX_ADDRESSES])


def _common(ours: Hello, theirs: Hello) -> list[str]:
    return sorted(set(ours.types) & set(theirs.types))


def _strings(value: Any, most: int) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > most or not all(type(item) is str for item in value):
        raise ProtocolError("the peer's greeting is not one")
    if any(len(item) > MAX_ADDRESS for item in value):
        raise ProtocolError("the peer's greeting is too long")
    return tuple(value)
