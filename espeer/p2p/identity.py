"""The node's identity: an Ed25519 key in a file that only its owner can read.

The file holds 64 bytes, the seed and then the public key (the usual secret-key form), so damage is noticed. libp2p is
imported only when its key pair is asked for: commands that need no network start without it.
"""

import os
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nacl.signing import SigningKey

from espeer import ownfile, records
from espeer.errors import ConfigError

if TYPE_CHECKING:
    from libp2p.crypto.keys import KeyPair

SEED_SIZE: Final = 32
_FILE_SIZE: Final = SEED_SIZE + records.KEY_SIZE


class Identity:
    """An Ed25519 key pair, which is a node's name (peer id) and signs its records.

    :param seed: the 32 secret bytes that the key is made of.
    """

    def __init__(self, seed: bytes) -> None:
        self._key = SigningKey(seed)

    def __repr__(self) -> str:
        """Show the peer id; the secret stays out of logs."""
        return f"Identity({self.peer_id})"

    @cached_property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return bytes(self._key.verify_key)

    @cached_property
    def peer_id(self) -> str:
        """The libp2p peer id, base58."""
        return records.peer_id(self.public)

    @cached_property
    def key_pair(self) -> "KeyPair":
        """The same key as libp2p wants it."""
        from libp2p.crypto.ed25519 import create_new_key_pair  # noqa: PLC0415 - 0.8 s that offline commands need not wait

        return create_new_key_pair(bytes(self._key))

    def sign(self, data: bytes) -> bytes:
        """The 64-byte Ed25519 signature of ``data``."""
        return self._key.sign(data).signature

    def to_bytes(self) -> bytes:
        """What the key file holds. Secret."""
        return bytes(self._key) + self.public


def load_or_create(path: Path) -> Identity:
    """The identity kept in ``path``; a new one is made and kept there if there is no such file.

    :raises ConfigError: the file is damaged, can be read by others, or cannot be read or written.
    """
    try:
        return _load(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise ConfigError(f"cannot read the key file {path}: {error.strerror}") from error
    try:
        _create(path, Identity(os.urandom(SEED_SIZE)))
        return _load(path)
    except OSError as error:
        raise ConfigError(f"cannot write the key file {path}: {error.strerror}") from error


def load_existing(path: Path) -> Identity:
    """The identity kept in ``path``.

    :raises ConfigError: there is none, it is damaged, or others can read it.
    """
    try:
        return _load(path)
    except OSError as error:
        raise ConfigError(f"cannot read the key file {path}: {error.strerror}") from error


def _load(path: Path) -> Identity:
    data = ownfile.read(path, _FILE_SIZE)
    identity = Identity(data[:SEED_SIZE]) if len(data) == _FILE_SIZE else None
    if identity is None or identity.to_bytes() != data:
        raise ConfigError(f"the key file {path} is damaged; restore it, or remove it and this node gets a new identity")
    return identity


def _create(path: Path, identity: Identity) -> None:
    """Make the file, whole or not at all: nobody ever sees half a key, nor loses theirs to ours."""
    with suppress(FileExistsError), ownfile.new(path) as file:  # then another process was faster; its key is the one
        file.write(identity.to_bytes())
