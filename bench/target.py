"""A server under measurement: the engine, or a peer with its own database."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

import psycopg
from tests.services import Workspace

from bench import catalogue, memory, peer, schema
from bench import measurement as m
from bench.engine import Engine
from bench.measurement import Measurement
from bench.orders import Orders
from bench.peer import Peer
from bench.plan import Plan
from bench.servers import Servers, Site

SCHEMA = "public"


@dataclass(frozen=True)
class Target:
    """A server under measurement, and its tables."""

    subject: str
    service: Engine | Peer
    orders: Orders

    @property
    def port(self) -> int:
        """Its port on 127.0.0.1."""
        return self.service.port


@contextmanager
def peers_at_work(
    workspace: Workspace, servers: Servers, site: Site, plan: Plan, secret: str
) -> Iterator[tuple[list[Target], list[Measurement]]]:
    """Starts the peers of the plan, each with the same tables, customers and products.

    Yields them, and the time that each took to start.
    """
    with ExitStack() as stack:
        targets, starts = [], []
        for name in plan.peers:
            url = stack.enter_context(servers.database())
            connection = stack.enter_context(closing(psycopg.connect(url, autocommit=True)))
            schema.make(connection, SCHEMA)
            catalogue.fill(connection, SCHEMA, plan)
            service = peer.ALL[name](
                workspace, database_url=url, rabbitmq_url=site.rabbitmq_url, secret=secret
            )
            begin = time.perf_counter()
            service.start()
            ready_s = time.perf_counter() - begin
            stack.callback(service.stop)
            targets.append(Target(service.subject, service, Orders(connection, SCHEMA)))
            starts.append(Measurement(service.subject, m.START, 0, {"ready_s": ready_s}))
        yield targets, starts


def memory_of(one: Target) -> Measurement:
    """Returns the memory of all its processes; shared pages count once."""
    held_mb = memory.proportional_mb(one.service.pid)
    return Measurement(one.subject, m.MEMORY_AFTER_LOAD, 0, {"held_mb": held_mb})
