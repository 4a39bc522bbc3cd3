from pathlib import Path

import pytest
import trio
from replicas import identity, until

from espeer.p2p import addressbook
from espeer.p2p.acquaintances import Acquaintances
from espeer.p2p.addressbook import keep, load
from espeer.p2p.addresses import PeerAddress

PEER = identity(2).peer_id
ADDRESS = PeerAddress(PEER, "/ip4/192.0.2.2/tcp/4001")


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addressbook, "SAVE_SECONDS", 0.01)


async def test_what_is_new_is_kept_soon_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, met = tmp_path / "peers", Acquaintances()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep, path, met)
        met.met(PEER, [ADDRESS], 1, dialled=True)
        await until(lambda: load(path).best() == [(PEER, [ADDRESS])])
        monkeypatch.setattr(addressbook, "SAVE_SECONDS", 3600)
        await trio.sleep(0.05)
        met.changed = True
        await trio.Path(path).unlink()
        nursery.cancel_scope.cancel()
    assert load(path).best() == [(PEER, [ADDRESS])]
    assert (await trio.Path(path).stat()).st_mode & 0o777 == 0o600
    assert [found.name for found in await trio.Path(tmp_path).iterdir()] == ["peers"]


async def test_what_is_not_new_is_not_written(nursery: trio.Nursery, tmp_path: Path) -> None:
    met = Acquaintances()
    with trio.move_on_after(0.1):
        await keep(tmp_path / "peers", met)
    assert [found.name for found in await trio.Path(tmp_path).iterdir()] == []


async def test_a_disk_that_does_not_take_it_is_told_of_once_and_tried_again(
    nursery: trio.Nursery, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, met = tmp_path / "gone" / "peers", Acquaintances()
    nursery.start_soon(keep, path, met)
    met.met(PEER, [ADDRESS], 1, dialled=True)
    await until(lambda: "cannot keep the peers met" in caplog.text)
    await trio.sleep(0.1)
    assert caplog.text.count("cannot keep the peers met") == 1
    await trio.Path(path.parent).mkdir()
    await until(lambda: load(path).best() == [(PEER, [ADDRESS])])


def test_without_a_file_nobody_was_met(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert load(tmp_path / "none").best() == []
    assert caplog.text == ""


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x92\x01", bytes(600_000)])
def test_a_damaged_file_is_told_of_and_done_without(tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes) -> None:
    (tmp_path / "peers").write_bytes(content)
    assert load(tmp_path / "peers").best() == []
    assert "cannot read the peers met before" in caplog.text
