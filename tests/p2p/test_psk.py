from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.secret import SecretBox

from espeer.errors import ConfigError
from espeer.p2p.psk import new_key, read_key_file, xsalsa20

KEY = bytes(range(32))


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=24, max_size=24), st.binary(max_size=300))
def test_the_cipher_is_that_of_nacl(key: bytes, nonce: bytes, text: bytes) -> None:
    # a secret box is XSalsa20 from its 33rd byte on, behind a tag of 16 bytes
    box = bytes(SecretBox(key).encrypt(text, nonce).ciphertext)
    assert xsalsa20(key, nonce).encrypt(bytes(32) + text)[32:] == box[16:]


def file_of(key: bytes) -> str:
    return f"/key/swarm/psk/1.0.0/\n/base16/\n{key.hex()}\n"


def keep(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_key_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    key = new_key()
    assert read_key_file(keep(tmp_path / "key", file_of(key))) == key


def test_the_forms_that_others_write(tmp_path: Path) -> None:
    zeros = "A" * 43 + "="
    assert read_key_file(keep(tmp_path / "a", f"/key/swarm/psk/1.0.0/\n/base16/\n{'00' * 32}")) == bytes(32)
    assert read_key_file(keep(tmp_path / "b", f"/key/swarm/psk/1.0.0/\r\n/base64/\r\n{zeros}\r\n")) == bytes(32)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        f"/key/swarm/psk/1.0.0/\n/base16/\n{'00' * 31}\n",
        f"/key/swarm/psk/1.0.0/\n/base16/\n{'0g' * 32}\n",
        f"/key/swarm/psk/2.0.0/\n/base16/\n{'00' * 32}\n",
        f"/key/swarm/psk/1.0.0/\n/base58/\n{'00' * 32}\n",
        "/key/swarm/psk/1.0.0/\n/base64/\n!\n",
        f"/key/swarm/psk/1.0.0/\n/base16/\n{'00' * 32}\nmore\n",
        "x" * 10_000,
        "\xff" * 10,
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="holds no network key"):
        read_key_file(keep(tmp_path / "key", text))


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="chmod 600"):
        read_key_file(keep(tmp_path / "key", file_of(KEY), 0o640))


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the network's key"):
        read_key_file(tmp_path / "none")
