"""Ending streams: in bounded time, whatever the peer does, and when we are being cancelled, too."""

from typing import Final

import trio
from libp2p.abc import INetStream

from espeer.log import get_logger

PART_SECONDS: Final = 0.3
"""How long ending a stream may take."""

log = get_logger(__name__)


async def close(stream: INetStream) -> None:
    """Close a stream: what was written arrives. One that cannot be closed is gone already."""
    await _end(stream, reset=False)


async def reset(stream: INetStream) -> None:
    """Reset a stream. One that cannot be reset is gone already."""
    await _end(stream, reset=True)


async def _end(stream: INetStream, *, reset: bool) -> None:
    with trio.CancelScope(shield=True), trio.move_on_after(PART_SECONDS):
        try:
            await (stream.reset() if reset else stream.close())
        except Exception as error:  # noqa: BLE001 - libp2p raises from many trees here
            log.debug("stream did not end", reason=repr(error))
