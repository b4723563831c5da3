"""Prints lists as aligned columns or as JSON."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

P = ParamSpec("P")
R = TypeVar("R")


def json_option(command: Callable[P, R]) -> Callable[P, R]:
    """Add the option `--json`, passed as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def print_json(objects: Iterable[object], fields: Sequence[str]) -> None:
    """Print the named attributes of each object as a JSON array; times are in ISO 8601."""
    rows = [{field: getattr(each, field) for field in fields} for each in objects]
    click.echo(json.dumps(rows, default=_as_text, ensure_ascii=False, indent=2))


def print_columns(rows: Iterable[Sequence[object]], heading: Sequence[str]) -> None:
    """Print a table; each column is as wide as its widest cell."""
    table = [heading, *([_as_text(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(heading))]
    for row in table:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())


def print_rows(rows: Sequence[object], fields: Sequence[str], *, as_json: bool) -> None:
    """Print the named attributes of each object, as a table or as JSON."""
    if as_json:
        print_json(rows, fields)
        return
    print_columns(
        ([getattr(row, field) for field in fields] for row in rows),
        heading=[field.upper() for field in fields],
    )


def print_count(done: str, count: int, *, as_json: bool) -> None:
    """Print how many messages were processed; `done` is the past participle, such as `retried`."""
    if as_json:
        click.echo(json.dumps({done: count}))
        return
    click.echo(f"{done} {count} message{'' if count == 1 else 's'}")


def _as_text(value: object) -> str:
    if value is None:
        return "-"
    return value.isoformat() if isinstance(value, datetime) else str(value)
