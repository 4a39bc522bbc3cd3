"""Private networks: a key that every node of the network has, below the handshake (libp2p's pnet).

https://github.com/libp2p/specs/blob/master/pnet/Private-Networks-PSK-V1.md. Each end sends a nonce of 24 bytes and
encrypts all that follows by XSalsa20. It keeps strangers out and authenticates nothing; the handshake inside does that.
py-libp2p has the same in name, but with Salsa20 and nonces of 8 bytes: no other libp2p understands it, and so short nonces
repeat sooner.
"""

import base64
import hashlib
import os
import struct
from pathlib import Path
from typing import Final

from Crypto.Cipher import Salsa20
from libp2p.abc import IRawConnection
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.security.exceptions import HandshakeFailure

from espeer.config import KEY_SIZE
from espeer.errors import ConfigError

NONCE_SIZE: Final = 24
_HEADER: Final = "/key/swarm/psk/1.0.0/"
_MAX_FILE: Final = 1024
_OTHERS: Final = 0o077
_FIRST: Final = b"\x13"  # the length of "/multistream/1.0.0" and a line feed
_SIGMA: Final = struct.unpack("<4I", b"expand 32-byte k")
_ROUNDS: Final = 20


def new_key() -> bytes:
    """A key for a new private network."""
    return os.urandom(KEY_SIZE)


def read_key_file(path: Path) -> bytes:
    """The key in a file in the form that all of libp2p uses: ``/key/swarm/psk/1.0.0/``, ``/base16/``, and the key.

    :raises ConfigError: there is no such file, others can read it, or it holds something else.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise ConfigError(f"cannot read the network's key from {path}: {error.strerror}") from error
    if mode & _OTHERS:
        raise ConfigError(f"the network's key in {path} can be read by others; run: chmod 600 {path}")
    key = _parse(data)
    if key is None:
        raise ConfigError(f"{path} holds no network key: three lines, {_HEADER}, /base16/ and 64 hexadecimal digits")
    return key


def fingerprint(key: bytes) -> bytes:
    """16 bytes that name the network and tell nothing of its key, as go-libp2p makes them."""
    return hashlib.shake_128(Salsa20.new(key=key, nonce=b"finprint").encrypt(bytes(64))).digest(16)


def format_key(key: bytes) -> str:
    """What a key file holds. Secret."""
    return f"{_HEADER}\n/base16/\n{key.hex()}\n"


def _parse(data: bytes) -> bytes | None:
    try:
        match data.decode("ascii").split():
            case [header, "/base16/", text] if header == _HEADER:
                key = bytes.fromhex(text)
            case [header, "/base64/", text] if header == _HEADER:
                key = base64.b64decode(text, validate=True)
            case _:
                return None
    except ValueError:
        return None
    return key if len(key) == KEY_SIZE else None


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


def xsalsa20(key: bytes, nonce: bytes) -> Salsa20.Salsa20Cipher:
    """The stream cipher XSalsa20 (https://cr.yp.to/snuffle/xsalsa-20110204.pdf): Salsa20 under a key made of key and nonce."""
    return Salsa20.new(key=_hsalsa20(key, nonce[:16]), nonce=nonce[16:])


def _hsalsa20(key: bytes, nonce: bytes) -> bytes:
    k, n, s = struct.unpack("<8I", key), struct.unpack("<4I", nonce), _SIGMA
    x = [s[0], *k[:4], s[1], *n, s[2], *k[4:], s[3]]
    for _ in range(_ROUNDS // 2):
        for column in ((0, 4, 8, 12), (5, 9, 13, 1), (10, 14, 2, 6), (15, 3, 7, 11)):
            _quarter(x, *column)
        for row in ((0, 1, 2, 3), (5, 6, 7, 4), (10, 11, 8, 9), (15, 12, 13, 14)):
            _quarter(x, *row)
    return struct.pack("<8I", *(x[index] for index in (0, 5, 10, 15, 6, 7, 8, 9)))


def _quarter(x: list[int], a: int, b: int, c: int, d: int) -> None:
    x[b] ^= _rotated(x[a] + x[d], 7)
    x[c] ^= _rotated(x[b] + x[a], 9)
    x[d] ^= _rotated(x[c] + x[b], 13)
    x[a] ^= _rotated(x[d] + x[c], 18)


def _rotated(value: int, bits: int) -> int:
    value &= 0xFFFFFFFF
    return (value << bits | value >> (32 - bits)) & 0xFFFFFFFF
