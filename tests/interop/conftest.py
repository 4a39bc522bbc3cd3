"""Node.js and the packages of the JavaScript peer; a test that asks for what is not here is skipped and says why.

In CI a skip would go unseen: there the tests fail instead, unless Node.js is not installed at all.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "e2e"))  # processes.py: espeer nodes as processes

from javascript import JsPeers  # noqa: E402
from processes import Nodes  # noqa: E402

MINIMUM = 20
INSTALL_SECONDS = 240.0
UNREACHABLE = re.compile(
    r"\b(ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT)\b"
)


def unusable(reason: str) -> NoReturn:
    if os.environ.get("CI", "").lower() in {"true", "1"}:
        pytest.fail(f"{reason} (skipped outside CI)", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def node_js() -> str:
    """Path of a Node.js that is new enough."""
    node = shutil.which("node")
    if node is None:
        pytest.skip(f"Node.js is not installed; version {MINIMUM} or newer runs this test")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < MINIMUM:
        unusable(f"Node.js is {version}; version {MINIMUM} or newer runs this test")
    return node


@pytest.fixture(scope="session")
def js_libp2p(node_js: str) -> str:
    """Path of a Node.js that finds the packages of package-lock.json, which are installed when they are not."""
    npm = shutil.which("npm")
    if npm is None:
        unusable("npm is not installed; it comes with Node.js, or as a package of its own")
    wanted = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    stamp = HERE / "node_modules" / ".installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return node_js
    try:
        done = subprocess.run([npm, "ci"], cwd=HERE, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        unusable(f"npm has not installed js-libp2p within {INSTALL_SECONDS:.0f} s")
    if done.returncode != 0 and (network := UNREACHABLE.search(done.stderr)):
        unusable(f"npm cannot reach its registry to install js-libp2p ({network[0]})")
    assert done.returncode == 0, done.stderr
    stamp.write_text(wanted)
    return node_js


@pytest.fixture
def peers(js_libp2p: str, tmp_path: Path) -> Iterator[JsPeers]:
    """Start js-libp2p peers that are gone when the test is over."""
    with JsPeers(js_libp2p, tmp_path) as started:
        yield started


@pytest.fixture
def nodes(js_libp2p: str, tmp_path: Path) -> Iterator[Nodes]:
    """Start espeer nodes that are gone when the test is over."""
    with Nodes(tmp_path) as started:
        yield started
