"""`order-engine events`: list events; inspect, retry and skip dead letters; replay events."""

from __future__ import annotations

import click

from order_engine import _native
from order_engine.cli.output import json_option, print_count, print_rows
from order_engine.cli.replay import replay
from order_engine.cli.running import with_database
from order_engine.cli.settings import setting_options

EVENT_FIELDS = ("order_id", "version", "at", "action", "status", "delivery")
DEAD_LETTER_FIELDS = (
    "id",
    "direction",
    "topic",
    "order_id",
    "attempts",
    "dead_lettered_at",
    "reason",
)


@click.group()
def events() -> None:
    """List order events; inspect, retry, skip and replay messages."""


@events.command()
@click.option(
    "--order",
    "order_id",
    metavar="ID",
    help="Only events of this order, by number or 24 hex digits.",
)
@click.option(
    "--limit", type=int, default=20, show_default=True, help="Maximum number of rows, 1 to 1000."
)
@setting_options("database_url")
@json_option
def tail(*, order_id: str | None, limit: int, as_json: bool, **options: str | None) -> None:
    """List the latest events and their delivery status, oldest first."""
    print_rows(
        _native.events_tail(with_database(**options), order_id, limit),
        EVENT_FIELDS,
        as_json=as_json,
    )


@events.command("dead-letters")
@click.option(
    "--limit", type=int, default=100, show_default=True, help="Maximum number of rows, 1 to 1000."
)
@setting_options("database_url")
@json_option
def dead_letters(*, limit: int, as_json: bool, **options: str | None) -> None:
    """List messages that could not be published or applied, oldest first.

    Below each row is the message itself, at most its first 4,096 characters or bytes.
    """
    rows = _native.events_dead_letters(with_database(**options), limit)
    print_rows(rows, DEAD_LETTER_FIELDS, as_json=as_json, below="body")


@events.command()
@click.argument("ids", type=int, nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="Retry all dead letters.")
@setting_options("database_url")
@json_option
def retry(*, ids: tuple[int, ...], everything: bool, as_json: bool, **options: str | None) -> None:
    """Retry dead letters.

    Outgoing ones are published by the relay, and their attempts start again at zero. Incoming ones
    are applied by this command.
    """
    if everything == bool(ids):
        raise click.UsageError("Give the ids of the dead letters to retry, or --all.")
    count = _native.events_retry(with_database(**options), None if everything else list(ids))
    print_count("retried", count, as_json=as_json)


@events.command()
@click.argument("ids", type=int, nargs=-1, required=True, metavar="ID...")
@setting_options("database_url")
@json_option
def skip(*, ids: tuple[int, ...], as_json: bool, **options: str | None) -> None:
    """Delete dead letters permanently. Later messages of the same order are then published."""
    print_count(
        "skipped", _native.events_skip(with_database(**options), list(ids)), as_json=as_json
    )


events.add_command(replay)
