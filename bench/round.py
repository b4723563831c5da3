"""One round: each measurement once, on a new database."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.services import Workspace

from bench import boundary, bulk, catalogue, disk_syncs, latency, memory, relay, steady
from bench import measurement as m
from bench.consumer import Consumer
from bench.counted_loads import CountedLoads
from bench.engine import Engine
from bench.errors import BenchError
from bench.floor import Floor
from bench.loads import Loads
from bench.measurement import DISK, ENGINE, PGBENCH, Measurement
from bench.orders import SCHEMA, Orders
from bench.plan import Plan
from bench.requests import Client
from bench.servers import Servers, Site
from bench.target import Target, memory_of, peers_at_work

# The rate if placing was not measured before.
OPEN_LOOP_PER_SECOND = 500.0
LOADS = {"place", "read", "list"}


class Round:
    """Measures the engine, pgbench and the peers."""

    def __init__(  # noqa: PLR0913 - each is another thing
        self,
        workspace: Workspace,
        servers: Servers,
        site: Site,
        plan: Plan,
        *,
        number: int,
        consumer: Consumer,
        secret: str,
        note: Callable[[Measurement], None],
    ) -> None:
        """Takes an empty site, and a consumer that is connected to the site's broker.

        `number` seeds the random choices, `secret` signs the tokens, and `note` receives each
        measurement immediately.
        """
        self._workspace = workspace
        self._servers = servers
        self._plan = plan
        self._number = number
        self._site = site
        self._consumer = consumer
        self._secret = secret
        self._note = self._remembering(note)
        self._capacity = 0.0
        self._orders = Orders(site.connection)
        pids = servers.pids()
        self._floor = Floor(
            servers.binaries, site.database_url, site.connection, pids["postgresql"]
        )
        self._client = Client(plan, secret, number)
        self._counted = CountedLoads(
            workspace.folder, consumer, pids, seconds=plan.seconds, seed=number
        )
        self._loads = Loads(
            plan,
            number=number,
            client=self._client,
            floor=self._floor,
            counted=self._counted,
            note=self._note,
        )

    def measure(self) -> None:
        """Measures all parts of the plan.

        Raises:
            BenchError: something failed, or the numbers are not valid.
            ServiceError: the engine or a peer did not start or did not stop.
        """
        syncs = {"per_second": disk_syncs.syncs_per_second(self._workspace.folder)}
        self._note(Measurement(DISK, m.SYNC, 0, syncs))
        self._engine().migrate()
        catalogue.fill(self._site.connection, SCHEMA, self._plan)
        self._floor.prepare(self._plan)
        parts = set(self._plan.parts)
        with self._serving() as engine:
            idle_mb = memory.resident_mb(engine.pid)
            if "events" in parts:
                self._single_orders(engine)
            if parts & LOADS:
                self._under_load(engine)
            if "open" in parts:
                self._open_loop(engine)
            loaded_mb = memory.most_resident_mb(engine.pid)
        sizes = {"idle_mb": idle_mb, "loaded_mb": loaded_mb}
        self._note(Measurement(ENGINE, m.MEMORY, self._plan.engine_connections, sizes))
        if "python" in parts:
            for one in boundary.measure(self._site.database_url, self._number):
                self._note(one)
        if "bulk" in parts:
            self._bulk()
        if "relay" in parts:
            self._relay()

    def _remembering(self, note: Callable[[Measurement], None]) -> Callable[[Measurement], None]:
        """Reports the measurement, and stores the highest rate of placing."""

        def noted(one: Measurement) -> None:
            if (one.subject, one.operation) == (ENGINE, m.PLACE):
                self._capacity = max(self._capacity, one.values["per_second"])
            note(one)

        return noted

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

    def _single_orders(self, engine: Engine) -> None:
        count = latency.WARM_UP_ORDERS + self._plan.single_orders
        requests = [self._client.placement() for _ in range(count)]
        values, series = latency.order_to_event(engine.port, self._consumer, self._orders, requests)
        self._note(Measurement(ENGINE, m.ORDER_TO_EVENT, 1, values, series))

    def _under_load(self, engine: Engine) -> None:
        own = Target(ENGINE, engine, self._orders)
        with peers_at_work(
            self._workspace, self._servers, self._site, self._plan, self._secret
        ) as (peers, starts):
            for start in starts:
                self._note(start)
            if "place" in self._plan.parts:
                self._loads.placing(own, peers)
            if "read" in self._plan.parts:
                self._loads.reading(own, peers)
            if "list" in self._plan.parts:
                self._loads.listing(own, peers)
            for one in (own, *peers):
                self._note(memory_of(one))

    def _open_loop(self, engine: Engine) -> None:
        """Places at a constant rate: half of what was measured before, or 500 per second."""
        one = Target(ENGINE, engine, self._orders)
        rate = self._capacity / 2 if self._capacity else OPEN_LOOP_PER_SECOND
        requests = self._counted.file("steady", self._client.placements(is_hot=False))
        self._counted.warm_up(one, requests)
        before = self._orders.count()
        seconds = self._plan.open_loop_seconds
        done = steady.run(
            engine.port, requests, per_second=rate, seconds=seconds, seed=self._number
        )
        placed = self._orders.count() - before
        if placed != done.requests:
            raise BenchError(f"{done.requests} orders were answered, {placed} were placed")
        self._orders.wait_until_sent()
        self._note(Measurement(ENGINE, m.OPEN_LOOP, 0, done.values))

    def _bulk(self) -> None:
        for one in bulk.measure_engine(self._site.database_url, self._number):
            self._note(one)
        floor = self._floor.place_in_bulk(self._plan)
        self._note(Measurement(PGBENCH, m.BULK, 0, floor))

    def _relay(self) -> None:
        with self._serving(has_relay=False) as engine:
            one = Target(ENGINE, engine, self._orders)
            requests = self._counted.file("paused", self._client.placements(is_hot=False))
            values = self._counted.place(
                one, requests, self._plan.engine_connections, has_relay=False
            )
            self._note(Measurement(ENGINE, m.PLACE_PAUSED, self._plan.engine_connections, values))
        self._orders.fill_outbox(self._plan.backlog)
        engine = self._engine()
        try:
            drained = relay.drain(engine, self._consumer, self._orders)
            self._note(Measurement(ENGINE, m.DRAIN, 0, drained))
        finally:
            engine.stop()
