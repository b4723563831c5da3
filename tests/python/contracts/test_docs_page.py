"""The page at `/docs` of a REST API: read, log in and call an operation, without the internet."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from order_engine import _native
from tests.python.support.browser import WatchedBrowser
from tests.python.support.engine_process import EngineProcess
from tests.python.support.missing_tools import skip_or_fail
from tests.python.support.waiting import eventually
from tests.services import Redis

REST = _native.described_contracts("openapi")


class DocsPage:
    """The page in the browser."""

    def __init__(self, browser: WatchedBrowser, server: EngineProcess) -> None:
        self.browser = browser
        self.url = f"{server.url}/docs"

    def open(self) -> None:
        """Opens the page; returns once it shows operations."""
        self.browser.driver.get(self.url)
        if "docs/assets/" not in self.browser.driver.page_source:
            skip_or_fail("the page is not bundled: install Node.js and run `make build`")
        self.find(".opblock-summary")

    def find(self, selector: str) -> WebElement:
        """Finds an element once it is shown."""

        def shown() -> list[WebElement]:
            found = self.browser.driver.find_elements(By.CSS_SELECTOR, selector)
            return [element for element in found if element.is_displayed()]

        return eventually(shown, selector)[0]

    def operations(self) -> set[tuple[str, str]]:
        """The shown methods and paths."""
        summaries = self.browser.driver.find_elements(By.CSS_SELECTOR, ".opblock-summary")
        return {
            (
                summary.find_element(By.CSS_SELECTOR, ".opblock-summary-method").text.lower(),
                str(
                    summary.find_element(By.CSS_SELECTOR, ".opblock-summary-path").get_attribute(
                        "data-path"
                    )
                ),
            )
            for summary in summaries
        }

    def authorize(self, token: str) -> None:
        """Enters a token on the page."""
        self.find(".btn.authorize").click()
        self.find(".auth-container input").send_keys(token)
        self.find(".auth-btn-wrapper .authorize").click()
        self.find(".auth-btn-wrapper .btn-done").click()


@pytest.fixture
def open_door(
    make_server: Callable[..., EngineProcess], redis: Redis
) -> Callable[..., EngineProcess]:
    """Serves a contract that requires tokens."""

    def serve(contract: str, **env: str) -> EngineProcess:
        settings = {f"ORDER_ENGINE_{contract.upper()}_AUTH": "jwt", "REDIS_URL": redis.url}
        arguments = ("--contract", contract, "--metrics-port", "0")
        server = make_server(*arguments, **settings, **env)
        server.start()
        return server

    return serve


@pytest.mark.parametrize("contract", REST)
def test_every_operation_can_be_tried_without_external_requests(
    contract: str,
    open_door: Callable[..., EngineProcess],
    browser: WatchedBrowser,
    tmp_path: Path,
) -> None:
    server = open_door(contract)
    page = DocsPage(browser, server)
    page.open()
    assert browser.driver.title == "order-engine API"
    document = server.client.get("/openapi.json").json()
    described = {(method, path) for path, each in document["paths"].items() for method in each}
    assert page.operations() == described

    page.authorize(server.token(1))
    page.find(".opblock-get .opblock-summary-control").click()
    page.find(".opblock-get .try-out__btn").click()
    page.find(".opblock-get .execute").click()
    answered = page.find(".live-responses-table .response .response-col_status").text
    assert answered.startswith("200"), answered
    answer = page.find(".live-responses-table .microlight").text
    assert isinstance(json.loads(answer), list), answer
    assert browser.driver.save_screenshot(str(tmp_path / "docs.png"))

    assert browser.complaints() == []
    sent = [event["request"]["url"] for event in browser.network("Network.requestWillBeSent")]
    assert page.url in sent
    assert [url for url in sent if not url.startswith((f"{server.url}/", "data:", "blob:"))] == []


COLOR = "return getComputedStyle(document.querySelector('.swagger-ui .info .title')).color"


@pytest.mark.parametrize("contract", REST)
def test_section_4_the_page_has_a_dark_theme_and_no_internal_names(
    contract: str, open_door: Callable[..., EngineProcess], browser: WatchedBrowser
) -> None:
    """The theme follows the system, and no Rust type or module is shown."""
    server = open_door(contract)
    page = DocsPage(browser, server)
    with browser.screen(1440, 900, "dark"):
        page.open()
        red_green_blue = re.findall(r"\d+", str(browser.driver.execute_script(COLOR)))
    assert min(map(int, red_green_blue[:3])) > 160, "light text"
    with browser.screen(390, 844):
        page.open()
        assert browser.driver.execute_script("return document.body.scrollWidth") <= 390
    assert browser.driver.find_elements(By.CSS_SELECTOR, ".models") == []
    names = server.client.get("/openapi.json").json()["components"]["schemas"]
    assert [name for name in names if not re.fullmatch("[A-Z][a-z]+([A-Z][a-z]+)*", name)] == []
    assert [name for name in names if name.lower().startswith(contract)] == []


def test_the_page_obeys_a_strict_content_security_policy(
    open_door: Callable[..., EngineProcess],
) -> None:
    server = open_door(REST[0])
    page = server.client.get("/docs")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "script-src" not in policy
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert "<script>" not in page.text


def test_without_its_files_the_page_links_to_the_description(
    open_door: Callable[..., EngineProcess], tmp_path: Path
) -> None:
    server = open_door(REST[0], ORDER_ENGINE_PAGES_DIR=str(tmp_path / "nothing"))
    page = server.client.get("/docs")
    assert page.status_code == 200
    assert "/openapi.json" in page.text
    assert "make build" in page.text
    assert server.client.get("/docs/assets/index.js").status_code == 404
