"""The key of a private network: the file that it lies in, the fingerprint that names it in public, and its cipher."""

import base64
import hashlib
import os
import struct
from pathlib import Path
from typing import Final

from Crypto.Cipher import Salsa20

from espeer import ownfile
from espeer.config import KEY_SIZE
from espeer.errors import ConfigError

_HEADER: Final = "/key/swarm/psk/1.0.0/"
_MAX_FILE: Final = 1024
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
        key = _parse(ownfile.read(path, _MAX_FILE))
    except OSError as error:
        raise ConfigError(f"cannot read the network's key from {path}: {error.strerror}") from error
    if key is None:
        raise ConfigError(f"{path} holds no network key: three lines, {_HEADER}, /base16/ and 64 hexadecimal digits")
    return key


def fingerprint(key: bytes) -> bytes:
    """16 bytes that name the network and tell nothing of its key, as go-libp2p makes them."""
    return hashlib.shake_128(Salsa20.new(key=key, nonce=b"finprint").encrypt(bytes(64))).digest(16)


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
