"""`order-engine shadow`: what the engine would have answered otherwise than the app's own code."""

from __future__ import annotations

import json

import click

from order_engine import _native
from order_engine.cli.output import json_option, print_columns
from order_engine.cli.settings import given, setting_options

COUNTS = ("operation", "matched", "differed", "unsettled", "failed", "skipped", "since")


@click.group()
def shadow() -> None:
    """See how the engine's answers differ from those of the app's own code."""


@shadow.command()
@click.option("--operation", metavar="NAME", help="Only of this operation.")
@click.option(
    "--limit", type=int, default=20, show_default=True, help="How many differences, 1 to 1000."
)
@setting_options("database_url")
@json_option
def report(*, operation: str | None, limit: int, as_json: bool, **options: str | None) -> None:
    """Show what became of shadowed requests, and the newest differences.

    matched: both answers were the same. differed: they were not. unsettled: they were not, and the
    data may have changed between them. failed: the engine gave no answer. skipped: there was
    nothing to compare.
    """
    found = _native.shadow_report(given(**options), operation, limit)
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
    """Leave fields of OPERATION's answers out of the comparison, instead of those set before.

    OPERATION may be "*" for all of them. A FIELD is a name, which counts everywhere, or a path such
    as createOrder.orders.status; none at all compares everything again. id, createdAt, created_at,
    updatedAt and updated_at are never compared.
    """
    _native.shadow_ignore(given(**options), operation, list(fields))
    click.echo(f"{operation}: ignoring {', '.join(fields) or 'nothing'}")


@shadow.command()
@click.option("--operation", metavar="NAME", help="Only of this operation.")
@setting_options("database_url")
def clear(*, operation: str | None, **options: str | None) -> None:
    """Forget counts and differences."""
    count = _native.shadow_clear(given(**options), operation)
    click.echo(f"forgot {count} difference{'' if count == 1 else 's'}")


def _show(difference: _native.ShadowDifference) -> None:
    click.echo(f"\n#{difference.id}  {difference.at.isoformat()}  {difference.operation}")
    click.echo(f"  request {difference.request}")
    for path in difference.paths:
        legacy = _at(path, difference.legacy_status, difference.legacy)
        engine = _at(path, difference.engine_status, difference.engine)
        click.echo(f"  {path}: legacy {legacy}, engine {engine}")
    click.echo(f"  legacy  {difference.legacy_status} {difference.legacy.strip()}")
    click.echo(f"  engine  {difference.engine_status} {difference.engine.strip()}")


def _at(path: str, status: int, body: str) -> str:
    """Find what an answer says at a path."""
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
            return "nothing"
    return f"{len(value)} items" if isinstance(value, list) else json.dumps(value)
