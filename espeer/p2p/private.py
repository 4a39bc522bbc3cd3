"""Private networks: connections that only those with the network's key can use, below the handshake (libp2p's pnet).

https://github.com/libp2p/specs/blob/master/pnet/Private-Networks-PSK-V1.md. Each end sends a nonce of 24 bytes and
encrypts all that follows by XSalsa20. It keeps strangers out and authenticates nothing; the handshake inside does that.
py-libp2p has the same in name, but with Salsa20 and nonces of 8 bytes: no other libp2p understands it, and so short nonces
repeat sooner.
"""

import os
from typing import TYPE_CHECKING, Final

from libp2p.abc import IRawConnection
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.security.exceptions import HandshakeFailure

from espeer.p2p.psk import xsalsa20

if TYPE_CHECKING:
    from Crypto.Cipher import Salsa20

NONCE_SIZE: Final = 24
_FIRST: Final = b"\x13"  # the length of "/multistream/1.0.0" and a line feed


class PrivateConnection(RawConnection):
    """A connection that only those with the key can use.

    Who reads what was encrypted with another key, or not at all, reads noise. Every handshake begins with the same byte, so
    that is seen at once.
    """

    def __init__(self, connection: IRawConnection, key: bytes) -> None:
        super().__init__(
            connection, connection.is_initiator, connection.get_connection_type(), connection.get_transport_addresses()
        )
        self._key = key
        self._ours: Salsa20.Salsa20Cipher | None = None
        self._theirs: Salsa20.Salsa20Cipher | None = None
        self._greeted = False

    async def write(self, data: bytes) -> None:
        """Send ``data``, encrypted."""
        nonce = b""
        if self._ours is None:
            nonce = os.urandom(NONCE_SIZE)
            self._ours = xsalsa20(self._key, nonce)
        await super().write(nonce + self._ours.encrypt(data))

    async def read(self, n: int | None = None) -> bytes:
        """Receive up to ``n`` bytes, decrypted; none at the end."""
        if self._theirs is None:
            nonce = b""
            while len(nonce) < NONCE_SIZE:
                part = await super().read(NONCE_SIZE - len(nonce))
                if not part:
                    return b""
                nonce += part
            self._theirs = xsalsa20(self._key, nonce)
        data = await super().read(n)
        if not data:
            return b""
        text = self._theirs.decrypt(data)
        if not self._greeted and not text.startswith(_FIRST):
            raise HandshakeFailure("the other side does not have the key of this private network")
        self._greeted = True
        return text
