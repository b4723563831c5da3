"""The report of a run, with a section for each measured part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import measurement as m
from bench.measurement import DISK, ENGINE, PEERS, PGBENCH
from bench.tables import decimal, in_each, median, ratios, sizes, spread, table, whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.results import Results

LOAD_LATENCIES = ("p50_ms", "p90_ms", "p99_ms")
# Operations of the engine and the peers, some of pgbench too.
SHARED = (m.PLACE, m.PLACE_HOT, m.READ, m.LIST)


def render(results: Results) -> str:
    """Returns the report of a run."""
    sections: list[tuple[str, Callable[[Results], str], str]] = [
        ("", _about, m.SYNC),
        ("**Placing orders** (orders per second)", _placing, m.PLACE),
        ("**Reading one order** (reads per second)", _reading, m.READ),
        ("**Listing one's orders** (lists per second)", _listing, m.LIST),
        ("**What a request costs** (µs of processor time)", _costs, m.MEMORY_AFTER_LOAD),
        (
            "**Beside what a team would otherwise write** (requests per second)",
            _peers,
            m.MEMORY_AFTER_LOAD,
        ),
        (
            "**From order to event, idle** (milliseconds after the request was sent)",
            _order_to_event,
            m.ORDER_TO_EVENT,
        ),
        (
            "**Placing at a constant rate** (milliseconds after the request was due)",
            _open_loop,
            m.OPEN_LOOP,
        ),
        ("**From Python, in process**", _boundary, m.AWAITS),
        ("**In bulk from Python, in process**", _bulk, m.BULK),
        ("**Relay, memory, start, disk**", _process, m.SYNC),
    ]
    measured = {one.operation for each in results.rounds for one in each}
    parts = [
        part
        for heading, section, operation in sections
        if operation in measured
        for part in (heading, section(results))
        if part
    ]
    return "\n\n".join(parts) + "\n"


def _about(results: Results) -> str:
    plan = results.plan
    facts = {"measured": results.taken_at} | results.machine
    facts["run"] = f"{plan.rounds} rounds, {plan.seconds} s each measurement under load"
    return table(("", ""), facts.items())


def _placing(results: Results) -> str:
    most = max(results.plan.connections)
    rows = []
    for operation in (m.PLACE, m.PLACE_HOT, m.PLACE_PAUSED):
        for connections in sizes(results, ENGINE, operation):
            beside = connections if connections in results.plan.connections else most
            row = _load_row(results, operation, connections, (m.PLACE, beside))
            events = median(results, "events_per_second", ENGINE, operation, connections)
            rows.append((operation, *row, events))
    heading = ("", *_load_heading("orders/s"), "events/s meanwhile")
    return table(heading, rows)


def _reading(results: Results) -> str:
    return _beside_floor(results, m.READ, "reads/s")


def _listing(results: Results) -> str:
    return _beside_floor(results, m.LIST, "lists/s")


def _costs(results: Results) -> str:
    """Processor time for each request, and PostgreSQL's for one of pgbench's."""
    rows = []
    for operation in (m.PLACE, m.READ, m.LIST):
        for size in sizes(results, ENGINE, operation):
            cells = [
                spread(in_each(results, f"{who}_us", ENGINE, operation, size), whole)
                for who in ("service", "postgresql", "rabbitmq")
            ]
            floor = in_each(results, "postgresql_us", PGBENCH, operation, size)
            rows.append((operation, str(size), *cells, spread(floor, whole)))
    heading = ("", "connections", "engine", "PostgreSQL", "RabbitMQ", "PostgreSQL under pgbench")
    return table(heading, rows)


def _beside_floor(results: Results, operation: str, unit: str) -> str:
    rows = [
        _load_row(results, operation, size, (operation, size))
        for size in sizes(results, ENGINE, operation)
    ]
    return table(_load_heading(unit), rows)


def _peers(results: Results) -> str:
    """Rates, ratios and 99th percentiles of the peers, and their resources."""
    measured = [peer for peer in PEERS if sizes(results, peer, m.START)]
    rates, latencies = [], []
    for operation in SHARED:
        for size in sizes(results, measured[0], operation) if measured else []:
            ours = in_each(results, "per_second", ENGINE, operation, size)
            cells = [spread(ours, whole)]
            for peer in measured:
                theirs = in_each(results, "per_second", peer, operation, size)
                cells += [spread(theirs, whole), spread(ratios(ours, theirs), decimal)]
            rates.append((operation, str(size), *cells))
            percentiles = (
                median(results, "p99_ms", subject, operation, size)
                for subject in (ENGINE, *measured)
            )
            latencies.append((operation, str(size), *percentiles))
    beside = [cell for peer in measured for cell in (peer, f"engine ÷ {peer}")]
    taken = [
        (
            subject,
            spread(in_each(results, "held_mb", subject, m.MEMORY_AFTER_LOAD, 0), decimal),
            spread(in_each(results, "ready_s", subject, m.START, 0), decimal),
        )
        for subject in (ENGINE, *measured)
    ]
    return "\n\n".join(
        [
            *(
                [
                    table(("", "connections", "engine", *beside), rates),
                    "99 of 100 requests were answered within so many milliseconds:",
                    table(("", "connections", "engine", *measured), latencies),
                ]
                if rates
                else []
            ),
            "All processes together, after the loads, and from start to ready:",
            table(("", "memory, MB", "start, s"), taken),
        ]
    )


def _order_to_event(results: Results) -> str:
    labels = {
        "answered": "HTTP answer",
        "received": "event with the consumer",
        "settled": "row gone from the outbox",
    }
    rows = []
    for name, words in labels.items():
        values = [
            spread(in_each(results, f"{name}_{percent}_ms", ENGINE, m.ORDER_TO_EVENT, 1), decimal)
            for percent in ("p50", "p99")
        ]
        rows.append((words, *values))
    return table(("", "p50 ms", "p99 ms"), rows)


def _open_loop(results: Results) -> str:
    names = ("per_second", "p50_ms", "p90_ms", "p99_ms", "p99_9_ms", "max_ms")
    cells = [
        spread(
            in_each(results, name, ENGINE, m.OPEN_LOOP, 0),
            whole if name == "per_second" else decimal,
        )
        for name in names
    ]
    return table(("orders/s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "longest ms"), [cells])


def _boundary(results: Results) -> str:
    rows = []
    for subject in (m.ENGINE, m.PSYCOPG, m.ENGINE_ASYNC, m.ASYNCPG):
        reads = in_each(results, "each_us", subject, m.GET_FROM_PYTHON, 1)
        places = in_each(results, "all_ms", subject, m.AWAITS, 1_000)
        rows.append((subject, spread(reads, whole), spread(places, whole)))
    return table(("", "one read, µs", "1 000 placed, ms"), rows)


def _bulk(results: Results) -> str:
    ours = in_each(results, "per_second", ENGINE, m.BULK, 0)
    theirs = in_each(results, "per_second", PGBENCH, m.BULK, 0)
    rows = [
        ("place_orders with 50 000 orders, orders/s", spread(ours, whole)),
        ("pgbench, 64 orders in one statement, 2 clients, orders/s", spread(theirs, whole)),
        ("ratio", spread(ratios(ours, theirs), decimal)),
        (
            "import order_engine, ms",
            spread(in_each(results, "import_ms", ENGINE, m.IMPORT, 0), decimal),
        ),
    ]
    return table(("", ""), rows)


def _process(results: Results) -> str:
    engine_connections = results.plan.engine_connections
    rows = [
        (
            f"relay, a backlog of {whole(results.plan.backlog)} messages, messages/s",
            spread(in_each(results, "per_second", ENGINE, m.DRAIN, 0), whole),
        ),
        (
            "memory of the engine after its start, MB",
            spread(in_each(results, "idle_mb", ENGINE, m.MEMORY, engine_connections), decimal),
        ),
        (
            f"most memory of the engine, {engine_connections} connections, MB",
            spread(in_each(results, "loaded_mb", ENGINE, m.MEMORY, engine_connections), decimal),
        ),
        (
            "from start to ready, s",
            spread(in_each(results, "ready_s", ENGINE, m.START, 0), decimal),
        ),
        (
            "what the disk makes durable, one after the other, blocks of 8 KiB/s",
            spread(in_each(results, "per_second", DISK, m.SYNC, 0), whole),
        ),
    ]
    return table(("", ""), rows)


def _load_heading(unit: str) -> tuple[str, ...]:
    return (
        "connections",
        f"engine {unit}",
        f"pgbench {unit}",
        "ratio",
        "p50 ms",
        "p90 ms",
        "p99 ms",
    )


def _load_row(
    results: Results, operation: str, connections: int, floor: tuple[str, int]
) -> tuple[str, ...]:
    engine = in_each(results, "per_second", ENGINE, operation, connections)
    pgbench = in_each(results, "per_second", PGBENCH, *floor)
    return (
        str(connections),
        spread(engine, whole),
        spread(pgbench, whole),
        spread(ratios(engine, pgbench), decimal),
        *(median(results, name, ENGINE, operation, connections) for name in LOAD_LATENCIES),
    )
