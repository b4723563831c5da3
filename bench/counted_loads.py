"""Loads by wrk whose results are checked against the tables."""

from contextlib import closing
from pathlib import Path

from bench import load
from bench.consumer import Consumer
from bench.errors import BenchError
from bench.http_client import HttpClient
from bench.processor import Clocks
from bench.requests import Request, write
from bench.target import Target

CHECKED_REQUESTS = 8
# Just-in-time compilers such as V8 need this long.
WARM_UP_SECONDS = 2
WARM_UP_CONNECTIONS = 16
DELIVERY_TIMEOUT_S = 120.0


class CountedLoads:
    """Loads that fail if a single response is not a success."""

    def __init__(
        self,
        folder: Path,
        consumer: Consumer,
        servers: dict[str, int],
        *,
        seconds: int,
        seed: int,
    ) -> None:
        """Keeps the files of requests in `folder`; each load takes so many seconds.

        `servers` are the server processes whose processor time is recorded too.
        """
        self._folder = folder
        self._servers = servers
        self._consumer = consumer
        self._seconds = seconds
        self._seed = seed

    def place(
        self, one: Target, requests: Path, connections: int, *, has_relay: bool = True
    ) -> dict[str, float]:
        """Places under load; with a relay, waits until all events have been published and received.

        Raises:
            BenchError: the orders in the table, or the events at the consumer, differ from the
                responses.
        """
        self.check(one, requests)
        orders, events = one.orders.count(), self._consumer.count
        clocks = self._clocks(one)
        done = self._load(one, requests, connections)
        values = done.values | clocks.per_request(done.requests)
        if has_relay:
            arrived = self._consumer.count - events
            values["events_per_second"] = arrived / done.requests * values["per_second"]
        one.orders.wait_until_quiet()
        placed = one.orders.count() - orders
        # Requests without a response at the end of the load may have placed orders.
        if not done.requests <= placed <= done.requests + connections:
            raise BenchError(f"{done.requests} orders were answered, {placed} were placed")
        if has_relay:
            one.orders.wait_until_sent()
            self._consumer.wait_for(events + placed, DELIVERY_TIMEOUT_S)
        return values

    def warm_up(self, one: Target, requests: Path) -> None:
        """Warms up caches, pools and compilers; nothing is measured."""
        load.run(
            one.port,
            requests,
            connections=WARM_UP_CONNECTIONS,
            seconds=WARM_UP_SECONDS,
            seed=self._seed,
        )
        one.orders.wait_until_quiet()
        one.orders.wait_until_sent()

    def file(self, name: str, requests: list[Request]) -> Path:
        """Writes requests for wrk and returns the file."""
        path = self._folder / f"{name}.requests"
        write(path, requests)
        return path

    def ask(self, one: Target, requests: Path, connections: int) -> dict[str, float]:
        """Runs a load that changes nothing."""
        clocks = self._clocks(one)
        done = self._load(one, requests, connections)
        return done.values | clocks.per_request(done.requests)

    def check(self, one: Target, requests: Path) -> None:
        """Checks the responses to some of the requests.

        Raises:
            BenchError: one of them is not a success.
        """
        with closing(HttpClient(one.port)) as client:
            for line in requests.read_text().splitlines()[:CHECKED_REQUESTS]:
                token, _, body = line.partition("\t")
                client.post(Request(token, body))

    def _clocks(self, one: Target) -> Clocks:
        return Clocks({"service": one.service.pid} | self._servers)

    def _load(self, one: Target, requests: Path, connections: int) -> load.Load:
        return load.run(
            one.port,
            requests,
            connections=connections,
            seconds=self._seconds,
            seed=self._seed,
        )
