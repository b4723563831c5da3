"""Markdown tables of medians with their range, and of ratios within each round."""

import statistics
from collections.abc import Callable, Iterable, Sequence

from bench.measurement import Measurement
from bench.results import Results

NOTHING = "-"


def table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose columns are aligned in plain text."""
    lines_of = [tuple(heading), *map(tuple, rows)]
    widths = [max(3, *(len(row[column]) for row in lines_of)) for column in range(len(heading))]
    lines = [
        " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in lines_of
    ]
    lines.insert(1, " | ".join("-" * width for width in widths))
    return "\n".join(f"| {line} |" for line in lines)


def sizes(results: Results, subject: str, operation: str) -> list[int]:
    """The numbers of connections at which an operation was measured, in ascending order."""
    return sorted(
        {
            one.connections
            for each in results.rounds
            for one in each
            if is_of(one, subject, operation)
        }
    )


def is_of(one: Measurement, subject: str, operation: str) -> bool:
    """Whether this was measured for this subject."""
    return (one.subject, one.operation) == (subject, operation)


def in_each(
    results: Results, value: str, subject: str, operation: str, connections: int
) -> list[float]:
    """A value of every round; an empty list if it was not measured."""
    return [
        one.values[value]
        for each in results.rounds
        for one in each
        if is_of(one, subject, operation) and one.connections == connections and value in one.values
    ]


def median(results: Results, value: str, subject: str, operation: str, connections: int) -> str:
    """The median of the rounds."""
    values = in_each(results, value, subject, operation, connections)
    if not values:
        return NOTHING
    return (decimal if value.endswith("_ms") else whole)(statistics.median(values))


def spread(values: Sequence[float], form: Callable[[float], str]) -> str:
    """The median, with the minimum and maximum of the rounds in parentheses."""
    if not values:
        return NOTHING
    least, most = form(min(values)), form(max(values))
    return f"{form(statistics.median(values))} ({least} to {most})"


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """The ratio in each round; empty if one of both was not measured."""
    if not ours or not theirs:
        return []
    return [our / their for our, their in zip(ours, theirs, strict=True)]


def whole(value: float) -> str:
    """A number without decimals, with thousands separators."""
    return f"{value:,.0f}".replace(",", " ")


def decimal(value: float) -> str:
    """A number with two decimals."""
    return f"{value:.2f}"
