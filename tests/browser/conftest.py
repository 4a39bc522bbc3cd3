"""Chromium and nodes for the tests of the dashboard; a test that asks for what is not here is skipped and says why."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "e2e"))  # processes.py: espeer nodes as processes

from chromium import Page, start  # noqa: E402
from processes import Nodes  # noqa: E402
from selenium import webdriver  # noqa: E402

INSTALL_SECONDS = 120.0


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """One Chromium for all tests."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("Chromium is not installed: on Debian, apt-get install chromium chromium-driver")
    started = start(chromium, driver, tmp_path_factory.mktemp("profile"))
    try:
        yield started
    finally:
        started.quit()


@pytest.fixture
def page(driver: webdriver.Chrome) -> Iterator[Page]:
    """A tab that asks only its nodes for anything."""
    page = Page(driver)
    yield page
    strangers = page.strangers()
    driver.get("about:blank")
    assert strangers == set()


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Start nodes that are gone when the tests are over."""
    with Nodes(tmp_path_factory.mktemp("nodes")) as started:
        yield started


@pytest.fixture(scope="session")
def axe() -> str:
    """axe-core, which is installed when it is not."""
    script = HERE / "node_modules" / "axe-core" / "axe.min.js"
    npm = shutil.which("npm")
    if not script.exists():
        if npm is None:
            pytest.skip("npm is not installed; it brings axe-core, which judges the page's accessibility")
        done = subprocess.run([npm, "ci"], cwd=HERE, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
        if done.returncode != 0:
            pytest.skip(f"npm cannot install axe-core: {done.stderr.strip()[:200]}")
    return script.read_text()
