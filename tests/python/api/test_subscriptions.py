"""GraphQL subscriptions over WebSocket, with the protocol of GraphiQL."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from websockets.exceptions import ConnectionClosedOK
from websockets.sync.client import connect
from websockets.sync.connection import Connection
from websockets.typing import Subprotocol

from tests.python.support.engine_process import EngineProcess
from tests.python.support.product_service import Product
from tests.python.support.shop import Shop

TIMEOUT_S = 20.0
SHOWN_WITHIN_S = 0.5


class Socket:
    """An initialised graphql-transport-ws connection."""

    def __init__(self, connection: Connection, payload: dict[str, object]) -> None:
        self._connection = connection
        self.send({"type": "connection_init", "payload": payload})
        assert self.receive() == {"type": "connection_ack"}

    def send(self, message: dict[str, object]) -> None:
        self._connection.send(json.dumps(message))

    def receive(self, timeout_s: float = TIMEOUT_S) -> dict[str, object]:
        message = json.loads(self._connection.recv(timeout_s))
        assert isinstance(message, dict)
        return message

    def subscribe(self, name: str, query: str) -> None:
        self.send({"type": "subscribe", "id": name, "payload": {"query": query}})

    def settle(self) -> None:
        """Returns once the server has processed everything that was sent before."""
        self.send({"type": "ping"})
        assert self.receive() == {"type": "pong"}


@contextmanager
def socket(
    server: EngineProcess, payload: dict[str, object], headers: dict[str, str] | None = None
) -> Iterator[Socket]:
    url = f"{server.url}/graphql".replace("http", "ws", 1)
    protocol = Subprotocol("graphql-transport-ws")
    with connect(
        url, subprotocols=[protocol], additional_headers=headers, proxy=None
    ) as connection:
        assert connection.subprotocol == protocol
        yield Socket(connection, payload)


@pytest.fixture
def order(shop: Shop) -> str:
    """The id of an order of user 1."""
    shop.offer(Product(1))
    return str(shop.placed((1, 1)))


def watch_everything(shop: Shop, watcher: Socket) -> None:
    """Changes orders until one change arrives: from then on, every change does."""
    watcher.subscribe("all", "subscription { orderUpdated { id } }")
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        shop.ask(f"mutation {{ cancelOrder(id: {shop.placed((1, 1))}) {{ success }} }}")
        try:
            watcher.receive(SHOWN_WITHIN_S)
        except TimeoutError:
            continue
        return
    pytest.fail("no change was shown")


def shown(message: dict[str, object]) -> object:
    payload = message["payload"]
    assert isinstance(payload, dict)
    assert payload.get("errors") is None, payload
    return payload["data"]["orderUpdated"]


def test_the_owner_sees_each_change_until_the_order_is_deleted(shop: Shop, order: str) -> None:
    token = shop.server.token(1)
    watch = f"subscription {{ orderUpdated(id: {order}) {{ id status version }} }}"
    payload: dict[str, object] = {"Authorization": f"Bearer {token}"}
    with socket(shop.server, payload) as watcher, socket(shop.server, payload) as mine:
        watch_everything(shop, watcher)
        mine.subscribe("w", watch)
        # The response to a second operation shows that the first has started.
        mine.subscribe("q", f"{{ getOrder(id: {order}) {{ status }} }}")
        data = {"data": {"getOrder": {"status": "Pending"}}}
        assert mine.receive() == {"type": "next", "id": "q", "payload": data}
        assert mine.receive() == {"type": "complete", "id": "q"}
        change = f'mutation {{ updateOrder(id: {order}, status: "confirmed") {{ success }} }}'
        shop.ask(change)
        assert shown(mine.receive()) == {"id": order, "status": "Confirmed", "version": 2}
        shop.ask(f"mutation {{ deleteOrder(id: {order}) {{ success }} }}")
        assert shown(mine.receive()) == {"id": order, "status": "Cancelled", "version": 3}
        assert mine.receive() == {"type": "complete", "id": "w"}


@pytest.mark.parametrize("bearer", ["", "nonsense", "2"])
def test_other_users_receive_nothing(server: EngineProcess, order: str, bearer: str) -> None:
    token = server.token(2) if bearer == "2" else bearer
    payload: dict[str, object] = {"Authorization": f"Bearer {token}"} if bearer else {}
    code = {"": "TOKEN_MISSING", "nonsense": "TOKEN_INVALID", "2": "NOT_FOUND"}[bearer]
    with socket(server, payload) as other:
        other.subscribe("w", f"subscription {{ orderUpdated(id: {order}) {{ id }} }}")
        refused = other.receive()
        assert refused["type"] == "next"
        assert f'"code": "{code}"' in json.dumps(refused)
        assert other.receive() == {"type": "complete", "id": "w"}


def test_a_subscription_ends_when_its_token_expires(server: EngineProcess) -> None:
    # Clocks may differ by a few seconds; this token expires soon in any case.
    token = server.token(1, exp=int(time.time()) + 2)
    with socket(server, {}, {"Authorization": f"Bearer {token}"}) as mine:
        mine.subscribe("w", "subscription { orderUpdated { id } }")
        assert '"code": "TOKEN_EXPIRED"' in json.dumps(mine.receive())
        assert mine.receive() == {"type": "complete", "id": "w"}


def test_a_stopping_server_closes_subscriptions_cleanly(server: EngineProcess) -> None:
    with socket(server, {"Authorization": f"Bearer {server.token(1)}"}) as mine:
        mine.subscribe("w", "subscription { orderUpdated { id } }")
        mine.settle()
        server.stop()
        with pytest.raises(ConnectionClosedOK, match="1001"):
            mine.receive()
