"""The closed-loop loads of a round, in alternation, with checked results.

The engine, pgbench and the peers follow each other within a round, so that a slow moment of the
machine does not affect one of them alone.
"""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from bench import measurement as m
from bench.counted_loads import CountedLoads
from bench.errors import BenchError
from bench.floor import Floor
from bench.http_client import HttpClient
from bench.measurement import PGBENCH, Measurement
from bench.plan import Plan
from bench.requests import Client
from bench.target import Target

Step = tuple[str, str, Callable[[], dict[str, float]]]
"""An operation of a subject, and how to measure it."""
Note = Callable[[Measurement], None]


class Loads:
    """The loads of wrk and pgbench in one round."""

    def __init__(  # noqa: PLR0913 - each is another thing
        self,
        plan: Plan,
        *,
        number: int,
        client: Client,
        floor: Floor,
        counted: CountedLoads,
        note: Note,
    ) -> None:
        """`number` seeds the random choices; `note` receives each measurement."""
        self._plan = plan
        self._number = number
        self._client = client
        self._floor = floor
        self._counted = counted
        self._note = note

    def placing(self, engine: Target, peers: list[Target]) -> None:
        """Orders for many products, and all for one."""
        many = self._counted.file("many", self._client.placements(is_hot=False))
        hot = self._counted.file("hot", self._client.placements(is_hot=True))
        for one in (engine, *peers):
            self._counted.warm_up(one, many)
        for connections in (*self._plan.connections, self._plan.engine_connections):
            steps: list[Step] = []
            for one in (engine, *self._those_at(connections, peers)):
                place = partial(self._counted.place, one, many, connections)
                place_hot = partial(self._counted.place, one, hot, connections)
                steps += [(one.subject, m.PLACE, place), (one.subject, m.PLACE_HOT, place_hot)]
            if connections in self._plan.connections:
                on_floor = partial(self._floor.place, self._plan, connections)
                steps.insert(1, (PGBENCH, m.PLACE, on_floor))
            self._take(steps, connections)

    def reading(self, engine: Target, peers: list[Target]) -> None:
        """Random orders, one at a time."""
        files = {}
        for one in (engine, *peers):
            known = one.orders.choose(self._plan.requests, self._number)
            requests = self._client.reads(known)
            files[one.subject] = self._counted.file(f"reads {one.subject}", requests)
        self._asking(m.READ, engine, peers, files, partial(self._floor.read, self._plan))

    def listing(self, engine: Target, peers: list[Target]) -> None:
        """The orders of regular customers, who have a few each."""
        requests = self._client.lists()
        file = self._counted.file("lists", requests)
        for one in (engine, *peers):
            with closing(HttpClient(one.port)) as client:
                listed = len(client.post(requests[0]))
            if listed != self._plan.orders_of_a_regular:
                raise BenchError(f"{one.subject} lists {listed} orders of a regular customer")
        files = {one.subject: file for one in (engine, *peers)}
        self._asking(m.LIST, engine, peers, files, partial(self._floor.list, self._plan))

    def _asking(
        self,
        operation: str,
        engine: Target,
        peers: list[Target],
        files: dict[str, Path],
        on_floor: Callable[[int], dict[str, float]],
    ) -> None:
        for one in (engine, *peers):
            self._counted.check(one, files[one.subject])
            self._counted.warm_up(one, files[one.subject])
        for connections in self._plan.connections:
            steps: list[Step] = []
            for one in (engine, *self._those_at(connections, peers)):
                ask = partial(self._counted.ask, one, files[one.subject], connections)
                steps.append((one.subject, operation, ask))
            steps.insert(1, (PGBENCH, operation, partial(on_floor, connections)))
            self._take(steps, connections)

    def _those_at(self, connections: int, peers: list[Target]) -> list[Target]:
        return peers if connections in self._plan.peer_connections else []

    def _take(self, steps: list[Step], connections: int) -> None:
        # Alternate the order, so that no subject always comes first.
        for subject, operation, measure in steps if self._number % 2 else reversed(steps):
            self._note(Measurement(subject, operation, connections, measure()))
