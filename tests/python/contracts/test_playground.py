"""The playground in headless Chromium: enter a token and a query, and read the result."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.python.support.browser import WatchedBrowser
from tests.python.support.engine_process import EngineProcess
from tests.python.support.missing_tools import skip_or_fail
from tests.python.support.product_service import Product
from tests.python.support.shop import Shop
from tests.python.support.waiting import eventually

# The editor keeps its lines in drawing order; `top` holds each line's position.
READ_LINES = """
    return [...document.querySelectorAll(arguments[0] + ' .view-line')]
        .sort((a, b) => parseFloat(a.style.top) - parseFloat(b.style.top))
        .map((line) => line.textContent.replaceAll('\\u00a0', ' '))
        .join('\\n');
"""


class Playground:
    """The page in the browser, and the requests that the browser has made."""

    def __init__(self, watched: WatchedBrowser, server: EngineProcess) -> None:
        self.watched = watched
        self.browser = watched.driver
        self.url = f"{server.url}/graphql"

    def open(self, fragment: str = "") -> None:
        """Opens the page; returns once its editor accepts input."""
        self.browser.get(self.url + fragment)
        if "graphql/assets/" not in self.browser.page_source:
            skip_or_fail("the playground is not bundled: install Node.js and run `make build`")
        eventually(lambda: "getOrders" in self.lines(".graphiql-query-editor"), "the first query")

    def lines(self, pane: str) -> str:
        """The text of an editor pane."""
        return str(self.browser.execute_script(READ_LINES, pane))

    def token_field(self) -> WebElement:
        """The token field, found by its label."""
        label = self.browser.find_element(By.XPATH, "//label[normalize-space()='Token']")
        return self.browser.find_element(By.ID, str(label.get_attribute("for")))

    def type_token(self, token: str) -> None:
        """Replaces the token field's text."""
        self.token_field().send_keys(Keys.CONTROL, "a", Keys.NULL, token)

    def type_query(self, query: str) -> None:
        """Replaces the query editor's text with a named operation."""
        self.click(".graphiql-query-editor .view-lines")
        keys = ActionChains(self.browser)
        keys.key_down(Keys.CONTROL).send_keys("a").key_up(Keys.CONTROL).send_keys(query).perform()
        eventually(
            lambda: self.lines(".graphiql-query-editor") == query, f"the editor with {query}"
        )
        # GraphiQL parses the operation with a delay, and then names the tab after it.
        name = query.split()[1]
        tab = self.browser.find_element(By.CSS_SELECTOR, "[role=tab][aria-selected=true]")
        eventually(lambda: tab.text == name, f"a tab {name}")

    def click(self, selector: str) -> None:
        """Clicks an element once it exists."""
        found = eventually(lambda: self.browser.find_elements(By.CSS_SELECTOR, selector), selector)
        found[0].click()

    def press_run(self) -> None:
        """Presses the run button."""
        self.click("[aria-label^='Execute query']")

    def answer(self, containing: str) -> dict[str, Any]:
        """Returns the result pane's text once it contains `text`."""

        def shown() -> dict[str, Any]:
            text = self.lines(".graphiql-response")
            try:
                answer: dict[str, Any] = json.loads(text)
            except json.JSONDecodeError:
                return {}
            return answer if containing in text else {}

        return eventually(shown, f"an answer with {containing!r}")


@pytest.fixture
def playground(browser: WatchedBrowser, server: EngineProcess) -> Playground:
    return Playground(browser, server)


def test_a_query_runs_with_the_token_without_external_requests(
    playground: Playground, server: EngineProcess, tmp_path: Path
) -> None:
    playground.open()
    assert playground.browser.title == "order-engine playground"
    playground.type_query("query Mine { allOrders { success message } }")
    playground.press_run()
    refused = playground.answer(containing="message")["data"]["allOrders"]
    assert refused == {"success": False, "message": "Authorization header missing."}

    playground.type_token(server.token(1))
    playground.press_run()
    fetched = playground.answer(containing="fetched")["data"]["allOrders"]
    assert fetched == {"success": True, "message": "Orders fetched successfully."}
    assert playground.browser.save_screenshot(str(tmp_path / "playground.png"))

    sent = [
        event["request"]["url"] for event in playground.watched.network("Network.requestWillBeSent")
    ]
    assert playground.url in sent
    allowed = (f"{server.url}/", "data:", "blob:")
    assert [url for url in sent if not url.startswith(allowed)] == []


def test_section_4_the_root_has_a_link_to_the_playground(
    playground: Playground, server: EngineProcess
) -> None:
    """A browser gets a link; other clients get the documented text alone."""
    assert server.client.get("/").text == "server running"
    playground.browser.get(f"{server.url}/")
    assert "server running" in playground.browser.page_source
    playground.click("a")
    eventually(lambda: "getOrders" in playground.lines(".graphiql-query-editor"), "the playground")
    assert playground.browser.current_url == playground.url


def test_the_page_obeys_a_strict_content_security_policy(
    playground: Playground, server: EngineProcess
) -> None:
    playground.open(f"#token={server.token(1)}")
    playground.press_run()
    playground.answer(containing="getOrders")
    page = playground.watched.network("Network.responseReceived")[0]["response"]
    policy = {name.lower(): text for name, text in page["headers"].items()}[
        "content-security-policy"
    ]
    assert "default-src 'self'" in policy
    assert "script-src" not in policy
    assert "unsafe-eval" not in policy
    assert playground.watched.complaints() == []


def test_a_link_can_carry_the_token_which_is_removed_from_the_address(
    playground: Playground, server: EngineProcess
) -> None:
    token = server.token(1)
    playground.open(f"#token={token}")
    assert playground.browser.current_url == playground.url
    assert playground.token_field().get_property("value") == token
    assert playground.token_field().get_property("type") == "password"
    playground.click("[aria-label='Show token']")
    assert playground.token_field().get_property("type") == "text"

    playground.press_run()
    answer = playground.answer(containing="getOrders")
    assert isinstance(answer["data"]["getOrders"], list)
    stored = playground.browser.execute_script("return JSON.stringify(localStorage)")
    assert token not in stored

    other = server.token(2)
    playground.browser.get(f"{playground.url}#token={other}")
    eventually(lambda: playground.token_field().get_property("value") == other, "the link")
    assert playground.browser.current_url == playground.url


def test_section_4_the_example_order_runs_without_editing(
    playground: Playground, server: EngineProcess, shop: Shop
) -> None:
    """The second tab places an order for the user that the token names."""
    shop.offer(Product(1))
    playground.open(f"#token={server.token(7)}")
    tab = "//button[@title='PlaceOrder']"
    eventually(lambda: playground.browser.find_elements(By.XPATH, tab), "the second tab")
    playground.browser.find_element(By.XPATH, tab).click()
    eventually(lambda: "userId: 7" in playground.lines(".graphiql-query-editor"), "the mutation")

    def is_answered() -> bool:
        # Until the tab is active, the button runs the operation of the first one.
        playground.press_run()
        time.sleep(1)
        return "placeOrder" in playground.lines(".graphiql-response")

    eventually(is_answered, "the answer to the mutation")
    placed = playground.answer(containing="placeOrder")["data"]["placeOrder"]
    assert placed["success"], placed["message"]
    assert placed["order"]["quantity"] == 2


PARTS = (".graphiql-query-editor", ".graphiql-response", "#token", ".graphiql-execute-button")
PLACES = """
    return arguments[0].map((selector) => {
        const { left, right, top, bottom } =
            document.querySelector(selector).getBoundingClientRect();
        return [left, right, top, bottom];
    });
"""


@pytest.mark.parametrize("width", [390, 1440])
def test_section_4_the_playground_fits_a_telephone_and_a_desktop(
    playground: Playground, server: EngineProcess, width: int
) -> None:
    """All is in the window, and query and answer are large enough to read."""
    height = 844
    with playground.watched.screen(width, height):
        playground.open(f"#token={server.token(1)}")
        playground.press_run()
        playground.answer(containing="getOrders")
        places = playground.browser.execute_script(PLACES, list(PARTS))
    for part, (left, right, top, bottom) in zip(PARTS, places, strict=True):
        assert left >= 0, part
        assert right <= width, part
        assert 0 <= top < bottom <= height, part
    for part, (left, right, top, bottom) in zip(PARTS[:2], places[:2], strict=True):
        assert right - left > 300, part
        assert bottom - top > 200, part


def test_a_subscription_sends_the_token_over_a_web_socket(
    playground: Playground, server: EngineProcess
) -> None:
    token = server.token(1)
    playground.open()
    # Pasted with the word Bearer, which must not be doubled.
    playground.type_token(f"Bearer {token}")
    playground.type_query("subscription Watch { orderUpdated { id } }")
    playground.press_run()

    def frames(direction: str) -> list[dict[str, Any]]:
        events = playground.watched.network(f"Network.webSocketFrame{direction}")
        return [json.loads(event["response"]["payloadData"]) for event in events]

    eventually(
        lambda: "connection_ack" in [frame["type"] for frame in frames("Received")],
        "connection_ack",
    )
    (created,) = playground.watched.network("Network.webSocketCreated")
    assert created["url"] == playground.url.replace("http", "ws", 1)
    assert frames("Sent")[0] == {
        "type": "connection_init",
        "payload": {"Authorization": f"Bearer {token}"},
    }
