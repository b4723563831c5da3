"""Headless Chromium without internet access, and the requests that it makes."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.python.support.missing_tools import skip_or_fail

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Only the server's own address resolves: pages must work without the internet.
CHROMIUM_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
    "--window-size=1280,800",
)


class WatchedBrowser:
    """A browser and the requests that it has made."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        """Watches a browser that has opened nothing yet."""
        self.driver = driver
        self._events: list[dict[str, Any]] = []

    def network(self, method: str) -> list[dict[str, Any]]:
        """Returns the parameters of all network events of this kind since the browser started."""
        for entry in self.driver.get_log("performance"):  # type: ignore[no-untyped-call]
            self._events.append(json.loads(entry["message"])["message"])
        return [event["params"] for event in self._events if event["method"] == method]

    @contextmanager
    def screen(self, width: int, height: int, scheme: str = "light") -> Iterator[None]:
        """Shows pages as on a screen of this size, in pixels, with a light or dark theme."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        try:
            yield
        finally:
            self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
            self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

    def complaints(self) -> list[str]:
        """Returns the browser's errors and warnings since the last call."""
        log = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in log if entry["level"] == "SEVERE"]


@contextmanager
def open_browser() -> Iterator[WatchedBrowser]:
    """Opens Chromium with an empty profile; skips or fails the test if it is not installed."""
    chromium = next(filter(None, map(shutil.which, BROWSERS)), None)
    chromedriver = shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        skip_or_fail("no Chromium: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*CHROMIUM_FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options, Service(executable_path=chromedriver))
        try:
            # Requests of Chromium's own start page are not the page's.
            driver.get("about:blank")
            driver.get_log("performance")  # type: ignore[no-untyped-call]
            yield WatchedBrowser(driver)
        finally:
            driver.quit()
