"""The closed-loop loads of a round: everybody at the same work in turns, and their answers counted.

The engine, pgbench and the peers follow each other within a round, so that a slow moment of the
machine does not hit one of them alone.
"""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from bench import load
from bench import measurement as m
from bench.consumer import Consumer
from bench.contestant import Contestant
from bench.door import Door
from bench.errors import BenchError
from bench.floor import Floor
from bench.measurement import PGBENCH, Measurement
from bench.plan import Plan
from bench.requests import Client, Request, write

CHECKED_REQUESTS = 8
WARM_UP_SECONDS = 1
WARM_UP_CONNECTIONS = 16
DELIVERY_TIMEOUT_S = 120.0

Step = tuple[str, str, Callable[[], dict[str, float]]]
"""Who does what, and how to measure it."""
Note = Callable[[Measurement], None]


class Loads:
    """What wrk and pgbench ask for in one round."""

    def __init__(  # noqa: PLR0913 - each is another thing
        self,
        folder: Path,
        plan: Plan,
        *,
        number: int,
        client: Client,
        floor: Floor,
        consumer: Consumer,
        note: Note,
    ) -> None:
        """Keeps the files of requests in `folder`; `number` makes the random choices."""
        self._folder = folder
        self._plan = plan
        self._number = number
        self._client = client
        self._floor = floor
        self._consumer = consumer
        self._note = note

    def placing(self, engine: Contestant, peers: list[Contestant]) -> None:
        """Orders for many products, and all for one."""
        many = self.file("many", self._client.placements(is_hot=False))
        hot = self.file("hot", self._client.placements(is_hot=True))
        for one in (engine, *peers):
            self.warm_up(one, many)
        for connections in (*self._plan.connections, self._plan.crowd):
            steps: list[Step] = []
            for one in (engine, *self._those_at(connections, peers)):
                place = partial(self.place, one, many, connections)
                place_hot = partial(self.place, one, hot, connections)
                steps += [(one.subject, m.PLACE, place), (one.subject, m.PLACE_HOT, place_hot)]
            if connections in self._plan.connections:
                on_floor = partial(self._floor.place, self._plan, connections)
                steps.insert(1, (PGBENCH, m.PLACE, on_floor))
            self._take(steps, connections)

    def reading(self, engine: Contestant, peers: list[Contestant]) -> None:
        """Random orders, one at a time."""
        files = {}
        for one in (engine, *peers):
            known = one.orders.choose(self._plan.requests, self._number)
            files[one.subject] = self.file(f"reads {one.subject}", self._client.reads(known))
        self._asking(m.READ, engine, peers, files, partial(self._floor.read, self._plan))

    def listing(self, engine: Contestant, peers: list[Contestant]) -> None:
        """The orders of regular customers, who have a few each."""
        requests = self._client.lists()
        file = self.file("lists", requests)
        for one in (engine, *peers):
            with closing(Door(one.port)) as door:
                listed = len(door.post(requests[0]))
            if listed != self._plan.orders_of_a_regular:
                raise BenchError(f"{one.subject} lists {listed} orders of a regular customer")
        files = {one.subject: file for one in (engine, *peers)}
        self._asking(m.LIST, engine, peers, files, partial(self._floor.list, self._plan))

    def place(
        self, one: Contestant, requests: Path, connections: int, *, has_relay: bool = True
    ) -> dict[str, float]:
        """Places under load; with a relay, waits until everything has been sent and received.

        Raises:
            BenchError: the orders in the table, or the events at the consumer, are not those that
                the answers tell of.
        """
        self._check(one, requests)
        orders, events = one.orders.count(), self._consumer.count
        done = self._load(one, requests, connections)
        values = done.values
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
            seed=self._number,
        )
        one.orders.wait_until_quiet()
        one.orders.wait_until_sent()

    def file(self, name: str, requests: list[Request]) -> Path:
        """Writes requests for wrk and returns where they are."""
        path = self._folder / f"{name}.requests"
        write(path, requests)
        return path

    def _asking(
        self,
        operation: str,
        engine: Contestant,
        peers: list[Contestant],
        files: dict[str, Path],
        on_floor: Callable[[int], dict[str, float]],
    ) -> None:
        for one in (engine, *peers):
            self._check(one, files[one.subject])
            self.warm_up(one, files[one.subject])
        for connections in self._plan.connections:
            steps: list[Step] = [
                (one.subject, operation, partial(self._ask, one, files[one.subject], connections))
                for one in (engine, *self._those_at(connections, peers))
            ]
            steps.insert(1, (PGBENCH, operation, partial(on_floor, connections)))
            self._take(steps, connections)

    def _those_at(self, connections: int, peers: list[Contestant]) -> list[Contestant]:
        return peers if connections in self._plan.peer_connections else []

    def _take(self, steps: list[Step], connections: int) -> None:
        # Every second round the other way round, so that nobody always comes first.
        for subject, operation, measure in steps if self._number % 2 else reversed(steps):
            self._note(Measurement(subject, operation, connections, measure()))

    def _ask(self, one: Contestant, requests: Path, connections: int) -> dict[str, float]:
        return self._load(one, requests, connections).values

    def _load(self, one: Contestant, requests: Path, connections: int) -> load.Load:
        return load.run(
            one.port,
            requests,
            connections=connections,
            seconds=self._plan.seconds,
            seed=self._number,
        )

    @staticmethod
    def _check(one: Contestant, requests: Path) -> None:
        """Looks at how some of the requests are answered."""
        with closing(Door(one.port)) as door:
            for line in requests.read_text().splitlines()[:CHECKED_REQUESTS]:
                token, _, body = line.partition("\t")
                door.post(Request(token, body))
