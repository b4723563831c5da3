"""The tables: medians with their spread, and ratios within each round; Markdown."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from bench import measurement as m
from bench.measurement import DISK, ENGINE, PGBENCH, Measurement
from bench.results import Results

NOTHING = "-"
LOAD_LATENCIES = ("p50_ms", "p90_ms", "p99_ms")


def render(results: Results) -> str:
    """Returns the report of a run."""
    parts = [
        _about(results),
        "**Placing orders** (orders per second)",
        _placing(results),
        "**Reading one order** (reads per second)",
        _reading(results),
        "**From order to event, idle** (milliseconds after the request was sent)",
        _order_to_event(results),
        "**From Python, in process**",
        _boundary(results),
        "**Relay, memory, start, disk**",
        _process(results),
    ]
    return "\n\n".join(parts) + "\n"


def _about(results: Results) -> str:
    plan = results.plan
    facts = {"measured": results.taken_at} | results.machine
    facts["run"] = f"{plan.rounds} rounds, {plan.seconds} s each measurement under load"
    return _table(("", ""), facts.items())


def _placing(results: Results) -> str:
    most = max(results.plan.connections)
    rows = []
    for operation in (m.PLACE, m.PLACE_HOT, m.PLACE_PAUSED):
        for connections in _sizes(results, operation):
            beside = connections if connections in results.plan.connections else most
            row = _load_row(results, operation, connections, (m.PLACE, beside))
            events = _median(results, "events_per_second", ENGINE, operation, connections)
            rows.append((operation, *row, events))
    heading = ("", *_load_heading("orders/s"), "events/s meanwhile")
    return _table(heading, rows)


def _reading(results: Results) -> str:
    sizes = _sizes(results, m.READ)
    rows = [_load_row(results, m.READ, size, (m.READ, size)) for size in sizes]
    return _table(_load_heading("reads/s"), rows)


def _order_to_event(results: Results) -> str:
    told = {
        "answered": "HTTP answer",
        "received": "event with the consumer",
        "settled": "row gone from the outbox",
    }
    rows = []
    for name, words in told.items():
        values = [
            _spread(_each(results, f"{name}_{percent}_ms", ENGINE, m.ORDER_TO_EVENT, 1), _decimal)
            for percent in ("p50", "p99")
        ]
        rows.append((words, *values))
    return _table(("", "p50 ms", "p99 ms"), rows)


def _boundary(results: Results) -> str:
    rows = []
    for subject in (m.ENGINE, m.PSYCOPG, m.ENGINE_ASYNC, m.ASYNCPG):
        reads = _each(results, "each_us", subject, m.GET_FROM_PYTHON, 1)
        places = _each(results, "all_ms", subject, m.AWAITS, 1_000)
        rows.append((subject, _spread(reads, _whole), _spread(places, _whole)))
    return _table(("", "one read, µs", "1 000 placed, ms"), rows)


def _process(results: Results) -> str:
    crowd = results.plan.crowd
    rows = [
        (
            f"relay, a backlog of {_whole(results.plan.backlog)} messages, messages/s",
            _spread(_each(results, "per_second", ENGINE, m.DRAIN, 0), _whole),
        ),
        (
            "memory of the engine after its start, MB",
            _spread(_each(results, "idle_mb", ENGINE, m.MEMORY, crowd), _decimal),
        ),
        (
            f"most memory of the engine, {crowd} connections, MB",
            _spread(_each(results, "loaded_mb", ENGINE, m.MEMORY, crowd), _decimal),
        ),
        (
            "from start to ready, s",
            _spread(_each(results, "ready_s", ENGINE, m.START, 0), _decimal),
        ),
        (
            "what the disk makes durable, one after the other, blocks of 8 KiB/s",
            _spread(_each(results, "per_second", DISK, m.SYNC, 0), _whole),
        ),
    ]
    return _table(("", ""), rows)


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
    engine = _each(results, "per_second", ENGINE, operation, connections)
    pgbench = _each(results, "per_second", PGBENCH, *floor)
    ratios = [ours / theirs for ours, theirs in zip(engine, pgbench, strict=True)]
    return (
        str(connections),
        _spread(engine, _whole),
        _spread(pgbench, _whole),
        _spread(ratios, _decimal),
        *(_median(results, name, ENGINE, operation, connections) for name in LOAD_LATENCIES),
    )


def _sizes(results: Results, operation: str) -> list[int]:
    """The connections at which something was measured, smallest first."""
    of_engine = partial(_is, subject=ENGINE, operation=operation)
    return sorted({one.connections for each in results.rounds for one in filter(of_engine, each)})


def _is(one: Measurement, *, subject: str, operation: str) -> bool:
    return (one.subject, one.operation) == (subject, operation)


def _each(
    results: Results, value: str, subject: str, operation: str, connections: int
) -> list[float]:
    """One value in every round; an empty list where nobody measures it."""
    return [
        one.values[value]
        for each in results.rounds
        for one in each
        if _is(one, subject=subject, operation=operation)
        and one.connections == connections
        and value in one.values
    ]


def _median(results: Results, value: str, subject: str, operation: str, connections: int) -> str:
    values = _each(results, value, subject, operation, connections)
    if not values:
        return NOTHING
    return (_decimal if value.endswith("_ms") else _whole)(statistics.median(values))


def _spread(values: Sequence[float], form: Callable[[float], str]) -> str:
    """The median, and in parentheses the least and the most of the rounds."""
    if not values:
        return NOTHING
    least, most = form(min(values)), form(max(values))
    return f"{form(statistics.median(values))} ({least} to {most})"


def _whole(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ")


def _decimal(value: float) -> str:
    return f"{value:.2f}"


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose columns are aligned in plain text, too."""
    table = [tuple(heading), *map(tuple, rows)]
    widths = [max(3, *(len(row[column]) for row in table)) for column in range(len(heading))]
    lines = [
        " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in table
    ]
    lines.insert(1, " | ".join("-" * width for width in widths))
    return "\n".join(f"| {line} |" for line in lines)
