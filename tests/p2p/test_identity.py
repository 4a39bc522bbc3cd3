import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from libp2p.peer.id import ID
from nacl.signing import VerifyKey

from espeer import records
from espeer.errors import ConfigError
from espeer.p2p.identity import load_or_create


def test_it_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "key"
    first = load_or_create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = load_or_create(path)
    assert again.public == first.public
    assert again.peer_id == first.peer_id
    assert os.listdir(tmp_path) == ["key"]  # noqa: PTH208 - the names are all we want
    assert load_or_create(tmp_path / "other").public != first.public


def test_it_agrees_with_records_and_libp2p(tmp_path: Path) -> None:
    identity = load_or_create(tmp_path / "key")
    assert len(identity.public) == records.KEY_SIZE
    assert identity.peer_id == records.peer_id(identity.public)
    assert identity.peer_id == str(ID.from_pubkey(identity.key_pair.public_key))
    signature = identity.sign(b"data")
    assert len(signature) == 64
    assert VerifyKey(identity.public).verify(b"data", signature) == b"data"
    assert identity.key_pair.public_key.verify(b"data", signature)
    assert identity.key_pair.private_key.sign(b"data") == signature


def test_its_secret_is_not_shown(tmp_path: Path) -> None:
    identity = load_or_create(tmp_path / "key")
    assert repr(identity) == f"Identity({identity.peer_id})"


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data + b"x", lambda _: b"", lambda data: b"x" + data[1:]]
)
def test_damage_is_named(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "key"
    load_or_create(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ConfigError, match="damaged") as caught:
        load_or_create(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    load_or_create(path)
    path.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_or_create(path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_or_create(tmp_path / "gone" / "key")


def test_a_folder_in_its_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="directory"):
        load_or_create(tmp_path)


def test_libp2p_is_not_imported_for_it() -> None:
    code = "import sys, espeer.p2p.identity; sys.exit('libp2p' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
