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


def print_columns(
    rows: Iterable[Sequence[object]], heading: Sequence[str], below: Iterable[str] | None = None
) -> None:
    """Print a table; each column is as wide as its widest cell.

    Args:
        rows: The cells of each row.
        heading: The first row.
        below: Text to print in lines of its own below each row.
    """
    table = [heading, *([_printable(_as_text(cell)) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(heading))]
    notes = [None, *([None] * (len(table) - 1) if below is None else below)]
    for row, note in zip(table, notes, strict=True):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())
        if note is not None:
            click.echo(f"    {_printable(note)}")


def print_rows(
    rows: Sequence[object], fields: Sequence[str], *, as_json: bool, below: str | None = None
) -> None:
    """Print the named attributes of each object, as a table or as JSON.

    The attribute `below` is printed in lines of its own; in JSON it is a field like the others.
    """
    if as_json:
        print_json(rows, fields if below is None else (*fields, below))
        return
    print_columns(
        ([getattr(row, field) for field in fields] for row in rows),
        heading=[field.upper() for field in fields],
        below=None if below is None else [getattr(row, below) for row in rows],
    )


def print_count(done: str, count: int, *, as_json: bool) -> None:
    """Print how many messages were processed; `done` is the past participle, such as `retried`."""
    if as_json:
        click.echo(json.dumps({done: count}))
        return
    click.echo(f"{done} {count} message{'' if count == 1 else 's'}")


def _printable(text: str) -> str:
    """Escape control characters: the text may be a stranger's, and the terminal obeys them."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def _as_text(value: object) -> str:
    if value is None:
        return "-"
    return value.isoformat() if isinstance(value, datetime) else str(value)
