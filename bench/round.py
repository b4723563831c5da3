"""One round: everything that a run measures, once, on a fresh database."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from tests.services import Workspace

from bench import boundary, catalogue, disk, latency, load, memory, relay
from bench import measurement as m
from bench.consumer import Consumer
from bench.door import Door
from bench.engine import Engine
from bench.errors import BenchError
from bench.floor import Floor
from bench.measurement import DISK, ENGINE, PGBENCH, Measurement
from bench.orders import SCHEMA, Orders
from bench.plan import Plan
from bench.requests import Client, Request, write
from bench.servers import Site

CHECKED_REQUESTS = 8
WARM_UP_SECONDS = 1
WARM_UP_CONNECTIONS = 16

Step = tuple[str, str, Callable[[], dict[str, float]]]
"""Who does what, and how to measure it."""


class Round:
    """Measures the engine and pgbench in turns, so that a slow moment of the machine hits both."""

    def __init__(  # noqa: PLR0913 - each is another thing
        self,
        workspace: Workspace,
        site: Site,
        plan: Plan,
        *,
        number: int,
        binaries: Path,
        secret: str,
        note: Callable[[Measurement], None],
    ) -> None:
        """Takes an empty site.

        `number` makes the random choices, `binaries` is where pgbench is, tokens are signed with
        `secret`, and `note` is told about everything as soon as it is measured.
        """
        self._workspace = workspace
        self._plan = plan
        self._number = number
        self._site = site
        self._secret = secret
        self._note = note
        self._orders = Orders(site.connection)
        self._floor = Floor(binaries, site.database_url, site.connection)
        self._client = Client(plan, secret, number)

    def measure(self, consumer: Consumer) -> None:
        """Measures everything; `consumer` is connected to the site's broker.

        Raises:
            BenchError: something failed, or the numbers cannot be trusted.
            ServiceError: the engine did not start or did not stop.
        """
        syncs = {"per_second": disk.syncs_per_second(self._workspace.folder)}
        self._note(Measurement(DISK, m.SYNC, 0, syncs))
        self._engine().migrate()
        catalogue.fill(self._site.connection, SCHEMA, self._plan)
        self._floor.prepare(self._plan)
        with self._serving() as engine:
            idle_mb = memory.resident_mb(engine.pid)
            self._single_orders(engine, consumer)
            self._placing(engine, consumer)
            self._reading(engine)
            loaded_mb = memory.most_resident_mb(engine.pid)
        for one in boundary.measure(self._site.database_url, self._number):
            self._note(one)
        sizes = {"idle_mb": idle_mb, "loaded_mb": loaded_mb}
        self._note(Measurement(ENGINE, m.MEMORY, self._plan.crowd, sizes))
        self._relay(consumer)

    def _engine(self, *, has_relay: bool = True) -> Engine:
        return Engine(
            self._workspace,
            database_url=self._site.database_url,
            rabbitmq_url=self._site.rabbitmq_url,
            secret=self._secret,
            has_relay=has_relay,
        )

    @contextmanager
    def _serving(self, *, has_relay: bool = True) -> Iterator[Engine]:
        engine = self._engine(has_relay=has_relay)
        begin = time.perf_counter()
        engine.start()
        if has_relay:
            self._note(Measurement(ENGINE, m.START, 0, {"ready_s": time.perf_counter() - begin}))
        try:
            yield engine
        finally:
            engine.stop()

    def _single_orders(self, engine: Engine, consumer: Consumer) -> None:
        count = latency.WARM_UP_ORDERS + self._plan.single_orders
        requests = [self._client.placement() for _ in range(count)]
        values, series = latency.order_to_event(engine.port, consumer, self._orders, requests)
        self._note(Measurement(ENGINE, m.ORDER_TO_EVENT, 1, values, series))

    def _placing(self, engine: Engine, consumer: Consumer) -> None:
        many = self._file("many", self._client.placements(is_hot=False), engine)
        hot = self._file("hot", self._client.placements(is_hot=True), engine)
        self._warm_up(engine, many)
        for connections in (*self._plan.connections, self._plan.crowd):
            steps: list[Step] = [
                (ENGINE, m.PLACE, partial(self._place, engine, many, connections, consumer)),
                (ENGINE, m.PLACE_HOT, partial(self._place, engine, hot, connections, consumer)),
            ]
            if connections in self._plan.connections:
                on_floor = partial(self._floor.place, self._plan, connections)
                steps.insert(1, (PGBENCH, m.PLACE, on_floor))
            self._take(steps, connections)

    def _reading(self, engine: Engine) -> None:
        known = self._orders.choose(self._plan.requests, self._number)
        requests = self._file("reads", self._client.reads(known), engine)
        self._warm_up(engine, requests)
        for connections in self._plan.connections:
            steps: list[Step] = [
                (ENGINE, m.READ, partial(self._read, engine, requests, connections)),
                (PGBENCH, m.READ, partial(self._floor.read, self._plan, connections)),
            ]
            self._take(steps, connections)

    def _relay(self, consumer: Consumer) -> None:
        with self._serving(has_relay=False) as engine:
            requests = self._file("paused", self._client.placements(is_hot=False), engine)
            values = self._place(engine, requests, self._plan.crowd, None)
            self._note(Measurement(ENGINE, m.PLACE_PAUSED, self._plan.crowd, values))
        self._orders.fill_outbox(self._plan.backlog)
        engine = self._engine()
        try:
            self._note(Measurement(ENGINE, m.DRAIN, 0, relay.drain(engine, consumer, self._orders)))
        finally:
            engine.stop()

    def _take(self, steps: list[Step], connections: int) -> None:
        # Every second round the other way round, so that nobody always comes first.
        for subject, operation, measure in steps if self._number % 2 else reversed(steps):
            self._note(Measurement(subject, operation, connections, measure()))

    def _place(
        self, engine: Engine, requests: Path, connections: int, consumer: Consumer | None
    ) -> dict[str, float]:
        """Places under load; with a consumer, waits until everything has been sent."""
        orders = self._orders.count()
        events = consumer.count if consumer else 0
        done = self._load(engine, requests, connections)
        values = done.values
        if consumer:
            arrived = consumer.count - events
            values["events_per_second"] = arrived / done.requests * values["per_second"]
        self._orders.wait_until_quiet()
        if consumer:
            self._orders.wait_until_sent()
        placed = self._orders.count() - orders
        # Those that wrk left unanswered at its end may have been placed.
        if not done.requests <= placed <= done.requests + connections:
            raise BenchError(f"{done.requests} orders were answered, {placed} were placed")
        return values

    def _load(self, engine: Engine, requests: Path, connections: int) -> load.Load:
        return load.run(
            engine.port,
            requests,
            connections=connections,
            seconds=self._plan.seconds,
            seed=self._number,
        )

    def _read(self, engine: Engine, requests: Path, connections: int) -> dict[str, float]:
        return self._load(engine, requests, connections).values

    def _file(self, name: str, requests: list[Request], engine: Engine) -> Path:
        """Writes requests for wrk, after a look at how some of them are answered."""
        with closing(Door(engine.port)) as door:
            for request in requests[:CHECKED_REQUESTS]:
                door.post(request)
        path = self._workspace.folder / f"{name}.requests"
        write(path, requests)
        return path

    def _warm_up(self, engine: Engine, requests: Path) -> None:
        load.run(
            engine.port,
            requests,
            connections=WARM_UP_CONNECTIONS,
            seconds=WARM_UP_SECONDS,
            seed=self._number,
        )
        self._orders.wait_until_quiet()
        self._orders.wait_until_sent()
