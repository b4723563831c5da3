"""The product service's own stock: it subtracts orders and reports the remaining stock later."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pika

from tests.python.support.legacy_consumer import EXCHANGE, QUEUE
from tests.python.support.product_service import ProductService

POLL_S = 0.05


class ProductStock:
    """Responds to `order.placed` as the product service does: some late, and each report twice.

    Use it as a context manager: it runs in its own thread.
    """

    def __init__(self, url: str, stock: dict[int, int], *, late_by: int) -> None:
        """Declares and binds the queue; `stock` is by product, `late_by` counts orders."""
        self.stock = dict(stock)
        self.reported: list[tuple[int, int]] = []
        self._late_by = late_by
        self._waiting: list[tuple[int, int]] = []
        self._service = ProductService(url)
        self._stopping = threading.Event()
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self._channel = self._connection.channel()
        self._channel.exchange_declare(exchange=EXCHANGE, exchange_type="direct")
        self._channel.queue_declare(QUEUE)
        self._channel.queue_bind(QUEUE, EXCHANGE, "order.placed")

    @contextmanager
    def at_work(self) -> Iterator["ProductStock"]:
        """Receives orders until the block ends, and then publishes the outstanding reports."""
        thread = threading.Thread(target=self._work, name="stock keeper")
        thread.start()
        try:
            yield self
        finally:
            self._stopping.set()
            thread.join()
            self._tell_beyond(0)
            self._connection.close()

    def _work(self) -> None:
        for method, _, body in self._channel.consume(
            QUEUE, auto_ack=True, inactivity_timeout=POLL_S
        ):
            if method is None or body is None:
                if self._stopping.is_set():
                    self._channel.cancel()
                    return
                continue
            for item in json.loads(body)["items"]:
                product = item["product_id"]
                self.stock[product] -= item["quantity"]
                self._waiting.append((product, self.stock[product]))
            self._tell_beyond(self._late_by)

    def _tell_beyond(self, late_by: int) -> None:
        while len(self._waiting) > late_by:
            product, left = self._waiting.pop(0)
            for _ in range(2):
                self._service.report_stock(product, left)
            self.reported.append((product, left))
