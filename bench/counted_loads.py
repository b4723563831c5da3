"""wrk at somebody's door, what it was told held against what is in the tables."""

from contextlib import closing
from pathlib import Path

from bench import load
from bench.consumer import Consumer
from bench.contestant import Contestant
from bench.door import Door
from bench.errors import BenchError
from bench.processor import Clocks
from bench.requests import Request, write

CHECKED_REQUESTS = 8
# Compilers at run time, such as V8, need more than a moment.
WARM_UP_SECONDS = 2
WARM_UP_CONNECTIONS = 16
DELIVERY_TIMEOUT_S = 120.0


class CountedLoads:
    """Loads that are refused as a measurement when a single answer was no success."""

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

        `servers` are the processes behind everybody's door whose processor time is taken as well.
        """
        self._folder = folder
        self._servers = servers
        self._consumer = consumer
        self._seconds = seconds
        self._seed = seed

    def place(
        self, one: Contestant, requests: Path, connections: int, *, has_relay: bool = True
    ) -> dict[str, float]:
        """Places under load; with a relay, waits until everything has been sent and received.

        Raises:
            BenchError: the orders in the table, or the events at the consumer, are not those that
                the answers tell of.
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
        # Those that wrk left unanswered at its end may have been placed.
        if not done.requests <= placed <= done.requests + connections:
            raise BenchError(f"{done.requests} orders were answered, {placed} were placed")
        if has_relay:
            one.orders.wait_until_sent()
            self._consumer.wait_for(events + placed, DELIVERY_TIMEOUT_S)
        return values

    def warm_up(self, one: Contestant, requests: Path) -> None:
        """Lets caches, pools and compilers of the door get going; nothing is measured."""
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
        """Writes requests for wrk and returns where they are."""
        path = self._folder / f"{name}.requests"
        write(path, requests)
        return path

    def ask(self, one: Contestant, requests: Path, connections: int) -> dict[str, float]:
        """Asks under load for what changes nothing."""
        clocks = self._clocks(one)
        done = self._load(one, requests, connections)
        return done.values | clocks.per_request(done.requests)

    def check(self, one: Contestant, requests: Path) -> None:
        """Looks at how some of the requests are answered.

        Raises:
            BenchError: one of them is refused.
        """
        with closing(Door(one.port)) as door:
            for line in requests.read_text().splitlines()[:CHECKED_REQUESTS]:
                token, _, body = line.partition("\t")
                door.post(Request(token, body))

    def _clocks(self, one: Contestant) -> Clocks:
        return Clocks({"service": one.service.pid} | self._servers)

    def _load(self, one: Contestant, requests: Path, connections: int) -> load.Load:
        return load.run(
            one.port,
            requests,
            connections=connections,
            seconds=self._seconds,
            seed=self._seed,
        )
