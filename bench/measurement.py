"""A measurement, as it is stored."""

from dataclasses import dataclass, field

ENGINE = "engine"
ENGINE_ASYNC = "engine, asyncio"
PGBENCH = "pgbench"
PSYCOPG = "psycopg"
ASYNCPG = "asyncpg"
DISK = "disk"
FLASK = "Flask"
FASTAPI = "FastAPI"
EXPRESS = "Express"
PEERS = (FLASK, FASTAPI, EXPRESS)

PLACE = "place"
PLACE_HOT = "place one hot product"
PLACE_PAUSED = "place, relay paused"
READ = "read"
LIST = "list"
GET_FROM_PYTHON = "get one order from Python"
AWAITS = "awaits at once"
BULK = "place in bulk"
IMPORT = "import"
OPEN_LOOP = "place, open loop"
ORDER_TO_EVENT = "order to event"
DRAIN = "drain a backlog"
MEMORY = "memory"
MEMORY_AFTER_LOAD = "memory after the loads"
START = "start"
SYNC = "sync"


@dataclass(frozen=True)
class Measurement:
    """The subject, the operation, and the numbers, each named with its unit.

    A load has `per_second`, and `p50_ms`, `p90_ms` and `p99_ms` if the load generator reports them.
    `series` holds single observations.
    """

    subject: str
    operation: str
    connections: int
    values: dict[str, float]
    series: dict[str, list[float]] = field(default_factory=dict)
