"""An engine with a contract on Kafka, its database and its Kafka."""

import re
from collections.abc import Mapping

import httpx
from psycopg.sql import SQL, Identifier

from tests.python.support.engine_process import EngineProcess
from tests.python.support.node_clients import send_messages
from tests.python.support.shop import database_of

LINE = re.compile(r"[0-9a-f]{8}f[0-9a-f]{15}")
AT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
KNOWN = "select reported from products where product_id = %s"


class KafkaShop:
    """The running engine as its clients, its neighbours and its operator see it."""

    def __init__(self, server: EngineProcess) -> None:
        """Connects to the database of an engine that runs."""
        self.server = server
        self.brokers = server.env["KAFKA_BROKER"]
        self.database = database_of(server)

    def close(self) -> None:
        """Disconnects."""
        self.database.close()

    def say_on(self, topic: str, *values: str | None, key: str | None = None) -> None:
        """Has another service send messages as they are."""
        messages = [{"topic": topic, "key": key, "value": value} for value in values]
        send_messages(self.brokers, messages)

    def put(self, product: str, quantity: int) -> None:
        """Stores a product in the engine's tables, for tests without a running Kafka."""
        self.database.execute(
            "insert into products (product_id, currency, reported, updated_at)"
            " values (%s, 'USD', %s, now())",
            (product, quantity),
        )

    def reported(self, product: str) -> int | None:
        """The stock that was reported last."""
        row = self.database.execute(KNOWN, (product,)).fetchone()
        return None if row is None else row[0]

    def count(self, table: str) -> int:
        """How many rows there are."""
        statement = SQL("select count(*) from {}").format(Identifier(table))
        (number,) = self.database.execute(statement).fetchone() or (0,)
        return int(number)

    def post_to(
        self, path: str, body: object, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Posts a body as JSON."""
        return self.server.client.post(path, json=body, headers=dict(headers or {}))


def masked(text: str, order_id: str) -> str:
    """Returns an answer or a message as the golden files have it."""
    return LINE.sub("LINE", AT.sub("AT", text)).replace(order_id, "ID")
