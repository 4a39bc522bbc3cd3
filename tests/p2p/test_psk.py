import os
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from nacl.secret import SecretBox
from replicas import Peer, records

from espeer.errors import ConfigError, NetworkError
from espeer.p2p import reception
from espeer.p2p.addresses import parse_peer
from espeer.p2p.psk import format_key, new_key, read_key_file, xsalsa20

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=24, max_size=24), st.binary(max_size=300))
def test_the_cipher_is_that_of_nacl(key: bytes, nonce: bytes, text: bytes) -> None:
    # a secret box is XSalsa20 from its 33rd byte on, behind a tag of 16 bytes
    box = bytes(SecretBox(key).encrypt(text, nonce).ciphertext)
    assert xsalsa20(key, nonce).encrypt(bytes(32) + text)[32:] == box[16:]


def keep(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_key_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    key = new_key()
    assert read_key_file(keep(tmp_path / "key", format_key(key))) == key


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
        read_key_file(keep(tmp_path / "key", format_key(KEY), 0o640))


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the network's key"):
        read_key_file(tmp_path / "none")


async def test_nodes_with_the_key_gossip_and_sync(nursery: trio.Nursery) -> None:
    held = records(100)
    a = await Peer(1, held=held, psk=KEY).start(nursery)
    b = await Peer(2, a.address, psk=KEY).start(nursery)
    c = await Peer(3, b.address, psk=KEY).start(nursery)
    await c.door.until_holds(held)
    await a.until_meshed(b)
    await b.until_meshed(c)
    new = records(3, start=1000)
    a.swarm.publish(new)
    await c.door.until_holds(new)
    assert c.door.via[new[0].id] == "gossip"


async def test_another_key_is_seen_at_once(nursery: trio.Nursery) -> None:
    held = records(1)
    a = await Peer(1, held=held, psk=KEY).start(nursery)
    stranger = await Peer(2, psk=OTHER).start(nursery)
    before = trio.current_time()
    for _ in range(3):
        with pytest.raises(NetworkError):
            await stranger.swarm._node.dial(parse_peer(a.address))
    assert trio.current_time() - before < 2
    assert a.connected() == stranger.connected() == set()
    b = await Peer(3, a.address, psk=KEY).start(nursery)
    await b.door.until_holds(held)


@pytest.mark.parametrize(("ours", "theirs"), [(KEY, None), (None, KEY)], ids=["stranger", "private"])
async def test_who_has_no_key_stays_outside(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, ours: bytes | None, theirs: bytes | None
) -> None:
    a, b = await Peer(1, psk=ours).start(nursery), await Peer(2, psk=theirs).start(nursery)
    monkeypatch.setattr(reception, "HANDSHAKE_SECONDS", 0.5)
    with pytest.raises(NetworkError):
        await b.swarm._node.dial(parse_peer(a.address))
    assert a.connected() == b.connected() == set()


async def test_what_comes_over_the_wire_is_noise(nursery: trio.Nursery) -> None:
    a = await Peer(1, psk=KEY).start(nursery)
    stream = await trio.open_tcp_stream("127.0.0.1", int(a.address.split("/")[4]))
    async with stream:
        nonce = os.urandom(24)
        cipher = xsalsa20(KEY, nonce)
        await stream.send_all(nonce + cipher.encrypt(b"\x13/multistream/1.0.0\n"))
        answer = b""
        with trio.fail_after(5):
            while len(answer) < 24 + 20:
                answer += await stream.receive_some()
        assert b"multistream" not in answer
        assert xsalsa20(KEY, answer[:24]).decrypt(answer[24:]) == b"\x13/multistream/1.0.0\n"
