"""A page in headless Chromium, and what it must never do."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.remote.webelement import WebElement

T = TypeVar("T")
PATIENCE = 15.0
FLAGS = (
    "--headless",
    "--no-sandbox",  # the tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def start(chromium: str, driver: str, profile: Path) -> webdriver.Chrome:
    """Start Chromium with an empty profile."""
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service(driver))


class Page:
    """A tab with the dashboard of a node."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver
        self.origins: set[str] = set()
        self.window(1280, 800)
        self.prefer(**{"prefers-color-scheme": "light"})
        for log in ("browser", "performance"):
            driver.get_log(log)

    def open(self, url: str) -> None:
        """Go to a node's dashboard."""
        self.origins.add(url.rstrip("/"))
        self.driver.get(url)

    def live(self, url: str) -> None:
        """Go there and wait until it shows what happens."""
        self.open(url)
        self.says("#connection-text", "live")
        self.eventually(lambda: self.all("#facts div"))

    def window(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def prefer(self, **features: str) -> None:
        """Set what the page is told of the user's preferences."""
        media = [{"name": name, "value": value} for name, value in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements("css selector", selector)

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element("css selector", selector)

    def text(self, selector: str) -> str:
        """The text that there is, shown or not."""
        return str(self.run("return document.querySelector(arguments[0])?.textContent ?? ''", selector))

    def eventually(self, found: Callable[[], T]) -> T:
        """Wait until there is something."""
        deadline = time.monotonic() + PATIENCE
        while not (value := found()):
            assert time.monotonic() < deadline, f"not within {PATIENCE:.0f} s; the page: {self.text('body')[:3000]}"
            time.sleep(0.02)
        return value

    def says(self, selector: str, *texts: str) -> None:
        """Wait until a part of the page has these texts in it."""
        self.eventually(lambda: all(text in self.text(selector) for text in texts))

    def press(self, *keys: str) -> str:
        """Press keys; return the id of what then has the focus."""
        ActionChains(self.driver).send_keys(*keys).perform()
        return str(self.run("return document.activeElement.id || document.activeElement.className"))

    def complaints(self) -> list[str]:
        """What stands in the console."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def strangers(self) -> set[str]:
        """The origins of all that was asked for, but for those of the nodes."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        urls = [urlsplit(m["params"]["request"]["url"]) for m in messages if m["method"] == "Network.requestWillBeSent"]
        return {f"{url.scheme}://{url.netloc}" for url in urls if url.scheme != "data"} - self.origins
