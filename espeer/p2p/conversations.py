"""Conversations: streams of one protocol of ours, opened and answered within bounds and with an end."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio
from libp2p.abc import INetStream
from libp2p.custom_types import TProtocol
from libp2p.exceptions import BaseLibp2pError

from espeer.errors import EspeerError, NetworkError, ProtocolError, RecordError
from espeer.log import get_logger
from espeer.p2p import streams
from espeer.p2p.door import Blame
from espeer.p2p.frames import Frames
from espeer.p2p.host import Node
from espeer.p2p.room import Room
from espeer.p2p.wire import MAX_FRAME

log = get_logger(__name__)


class Conversations:
    """The conversations of one protocol. What a peer does wrong costs its stream and is blamed on it.

    :param seconds: how long a conversation may last, whoever began it.
    :param limit: the most bytes of a frame, either way.
    :param inbound: how many that peers began may run at a time; see :mod:`espeer.p2p.room` for who has to go then.
    :param inbound_per_peer: how many of these with one peer.
    """

    def __init__(
        self,
        protocol: str,
        *,
        blame: Blame,
        seconds: float,
        limit: int = MAX_FRAME,
        inbound: int = 16,
        inbound_per_peer: int = 2,
    ) -> None:
        self.protocol: Final = TProtocol(protocol)
        self._blame = blame
        self._seconds = seconds
        self._limit = limit
        self._inbound = inbound
        self._inbound_per_peer = inbound_per_peer

    def serve(self, node: Node, answer: Callable[[str, Frames], Awaitable[None]]) -> None:
        """Have ``answer(peer_id, frames)`` speak with every peer that begins; at its end the stream is closed."""
        room = Room[trio.CancelScope](most=self._inbound, most_per_peer=self._inbound_per_peer)

        async def handle(stream: INetStream) -> None:
            peer_id = str(stream.muxed_conn.peer_id)
            scope = trio.CancelScope()
            going = room.enter(scope, peer_id, trio.current_time())
            if going is None:
                await streams.reset(stream)
                return
            for other in going:
                other.cancel()
            try:
                with scope:
                    async with self._over(peer_id, stream) as frames:
                        await answer(peer_id, frames)
            except EspeerError as error:
                log.debug("conversation broken off", protocol=self.protocol, peer=peer_id, reason=str(error))
            finally:
                room.leave(scope, trio.current_time())

        node.host.set_stream_handler(self.protocol, handle)

    @asynccontextmanager
    async def open(self, node: Node, peer_id: str) -> AsyncIterator[Frames]:
        """Begin a conversation with a connected peer; the stream ends with the block.

        :raises NetworkError: the peer does not take it up, goes away or takes too long.
        """
        stream = await node.open_stream(peer_id, self.protocol)
        async with self._over(peer_id, stream) as frames:
            yield frames

    @asynccontextmanager
    async def _over(self, peer_id: str, stream: INetStream) -> AsyncIterator[Frames]:
        done = False
        try:
            with trio.fail_after(self._seconds):
                address = stream.get_remote_address()
                yield Frames(stream, limit=self._limit, remote=address[0] if address else None)
            done = True
        except (ProtocolError, RecordError) as error:
            self._blame(peer_id, error)
            raise
        except trio.TooSlowError as error:
            raise NetworkError(f"the conversation with {peer_id} took more than {self._seconds:g} s") from error
        except BaseLibp2pError as error:
            raise NetworkError(f"the stream to {peer_id} broke: {error!r}") from error
        finally:
            await (streams.close(stream) if done else streams.reset(stream))
