"""`order-engine shadow`: differences between the engine's answers and those of the app."""

from __future__ import annotations

import json

import click

from order_engine import _native
from order_engine.cli.output import json_option, print_columns
from order_engine.cli.running import with_database
from order_engine.cli.settings import setting_options

COUNTS = ("operation", "matched", "differed", "unsettled", "failed", "skipped", "since")


@click.group()
def shadow() -> None:
    """Show how the engine's answers differ from those of the app's own code."""


@shadow.command()
@click.option("--operation", metavar="NAME", help="Only for this operation.")
@click.option(
    "--limit",
    type=int,
    default=20,
    show_default=True,
    help="Maximum number of differences, 1 to 1000.",
)
@setting_options("database_url")
@json_option
def report(*, operation: str | None, limit: int, as_json: bool, **options: str | None) -> None:
    """Show counts of shadowed requests, and the newest differences.

    matched: equal answers. differed: different answers. unsettled: different answers, but the data
    may have changed between them. failed: the engine returned no answer. skipped: not compared.
    """
    found = _native.shadow_report(with_database(**options), operation, limit)
    if as_json:
        click.echo(json.dumps(found.to_dict(), default=str, ensure_ascii=False, indent=2))
        return
    print_columns(
        ([getattr(one, field) for field in COUNTS] for one in found.counts),
        heading=[field.upper() for field in COUNTS],
    )
    for difference in found.differences:
        _show(difference)


@shadow.command()
@click.argument("operation")
@click.argument("fields", nargs=-1, metavar="[FIELD]...")
@setting_options("database_url")
def ignore(*, operation: str, fields: tuple[str, ...], **options: str | None) -> None:
    """Set the fields of OPERATION's answers that are not compared.

    Replaces the fields that were set before; without a FIELD none is ignored, except id, createdAt,
    created_at, updatedAt and updated_at, which are never compared. OPERATION may be "*" for all
    operations. A FIELD is a name, which applies at any depth, or a path such as
    createOrder.orders.status.
    """
    _native.shadow_ignore(with_database(**options), operation, list(fields))
    click.echo(f"{operation}: ignoring {', '.join(fields) or 'nothing'}")


@shadow.command()
@click.option("--operation", metavar="NAME", help="Only for this operation.")
@setting_options("database_url")
def clear(*, operation: str | None, **options: str | None) -> None:
    """Delete counts and differences."""
    count = _native.shadow_clear(with_database(**options), operation)
    click.echo(f"deleted {count} difference{'' if count == 1 else 's'}")


def _show(difference: _native.ShadowDifference) -> None:
    click.echo(f"\n#{difference.id}  {difference.at.isoformat()}  {difference.operation}")
    click.echo(f"  request {difference.request}")
    for path in difference.paths:
        legacy = _value_at(path, difference.legacy_status, difference.legacy)
        engine = _value_at(path, difference.engine_status, difference.engine)
        click.echo(f"  {path}: legacy {legacy}, engine {engine}")
    click.echo(f"  legacy  {difference.legacy_status} {difference.legacy.strip()}")
    click.echo(f"  engine  {difference.engine_status} {difference.engine.strip()}")


def _value_at(path: str, status: int, body: str) -> str:
    """Return the value at a path of an answer, as text."""
    if path == "http.status":
        return str(status)
    try:
        value = json.loads(body)
    except ValueError:
        return "?"
    steps = path.split(".")
    if isinstance(value, dict) and isinstance(value.get("data"), dict):
        value = {**value, **value["data"]}
    for step in steps:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return "missing"
    return f"{len(value)} items" if isinstance(value, list) else json.dumps(value)
