import os
import pty
import subprocess
import termios
from pathlib import Path

import pytest
from processes import ESPEER, Nodes, eventually

pytestmark = pytest.mark.e2e


def on_a_terminal(*arguments: str | Path, columns: int) -> str:
    """What a command prints on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    with subprocess.Popen([*ESPEER, *arguments], stdin=theirs, stdout=theirs, stderr=theirs) as command:
        os.close(theirs)
        printed = b""
        try:
            while piece := os.read(ours, 4096):
                printed += piece
        except OSError:  # Linux's way to say that the other side is closed
            pass
        finally:
            os.close(ours)
        assert command.wait(30) == 0, printed
    return printed.decode()


def test_what_is_to_be_copied_is_in_one_piece_on_a_narrow_terminal(nodes: Nodes, tmp_path: Path) -> None:
    a = nodes.start(tmp_path / "a")
    b = nodes.start(tmp_path / "b", "--bootstrap", a.up()["addresses"][0])
    address = b.up()["addresses"][0]

    def told() -> bool:
        return [peer["addresses"] for peer in a.ask("peers")] == [[address]]

    eventually("a knows where b listens", told)
    assert address in on_a_terminal("peers", "--data", a.data, columns=60)
    assert a.up()["addresses"][0] in on_a_terminal("id", "--data", a.data, columns=60)
    assert a.ask("invite")["ticket"] in on_a_terminal("invite", "--data", a.data, columns=60)
