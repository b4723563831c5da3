"""`order-engine events`: what was sent, what waits, and what to do with what is parked."""

from __future__ import annotations

import click

from order_engine import _native
from order_engine.cli.output import json_option, print_count, print_rows
from order_engine.cli.replay import replay
from order_engine.cli.settings import given, setting_options

EVENT_FIELDS = ("order_id", "version", "at", "action", "status", "delivery")
PARKED_FIELDS = ("id", "direction", "topic", "order_id", "attempts", "parked_at", "reason")


@click.group()
def events() -> None:
    """See the events of orders, and decide about parked messages."""


@events.command()
@click.option("--order", "order_id", type=int, metavar="ID", help="Only events of this order.")
@click.option("--limit", type=int, default=20, show_default=True, help="How many, 1 to 1000.")
@setting_options("database_url")
@json_option
def tail(*, order_id: int | None, limit: int, as_json: bool, **options: str | None) -> None:
    """Show the latest events and whether they were sent, oldest first."""
    print_rows(
        _native.events_tail(given(**options), order_id, limit), EVENT_FIELDS, as_json=as_json
    )


@events.command()
@click.option("--limit", type=int, default=100, show_default=True, help="How many, 1 to 1000.")
@setting_options("database_url")
@json_option
def parked(*, limit: int, as_json: bool, **options: str | None) -> None:
    """Show messages set aside because they could not be sent or understood."""
    print_rows(_native.events_parked(given(**options), limit), PARKED_FIELDS, as_json=as_json)


@events.command()
@click.argument("ids", type=int, nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="Retry all parked messages.")
@setting_options("database_url")
@json_option
def retry(*, ids: tuple[int, ...], everything: bool, as_json: bool, **options: str | None) -> None:
    """Give parked messages another try."""
    if everything == bool(ids):
        raise click.UsageError("Name the messages to retry, or say --all.")
    count = _native.events_retry(given(**options), None if everything else list(ids))
    print_count("retried", count, as_json=as_json)


@events.command()
@click.argument("ids", type=int, nargs=-1, required=True, metavar="ID...")
@setting_options("database_url")
@json_option
def skip(*, ids: tuple[int, ...], as_json: bool, **options: str | None) -> None:
    """Give parked messages up for good, so that those behind them go on."""
    print_count("skipped", _native.events_skip(given(**options), list(ids)), as_json=as_json)


events.add_command(replay)
