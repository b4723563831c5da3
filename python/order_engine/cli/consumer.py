"""`order-engine consumer`: what consumer scripts have set aside, and what to do with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from order_engine import _native
from order_engine.cli.output import json_option, print_count, print_rows
from order_engine.cli.settings import given, setting_options

if TYPE_CHECKING:
    from collections.abc import Callable

PARKED_FIELDS = ("id", "routing_key", "attempts", "parked_at", "reason")

P = ParamSpec("P")
R = TypeVar("R")


def queue_option(command: Callable[P, R]) -> Callable[P, R]:
    """Give a command the option `--queue`; it gets it as `queue`."""
    described = "The queue that the script consumes."
    return click.option("--queue", required=True, metavar="NAME", help=described)(command)


@click.group()
def consumer() -> None:
    """Decide about events that a consumer script has set aside.

    They are in the queue NAME.parked of the broker.
    """


@consumer.command()
@queue_option
@click.option("--limit", type=int, default=100, show_default=True, help="How many, 1 to 1000.")
@setting_options("rabbitmq_url")
@json_option
def parked(*, queue: str, limit: int, as_json: bool, **options: str | None) -> None:
    """Show the events, the longest waiting first; with --json also their text."""
    fields = (*PARKED_FIELDS, "message_id", "text") if as_json else PARKED_FIELDS
    print_rows(_native.consumer_parked(given(**options), queue, limit), fields, as_json=as_json)


@consumer.command()
@queue_option
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="Retry all events.")
@setting_options("rabbitmq_url")
@json_option
def retry(
    *, queue: str, ids: tuple[str, ...], everything: bool, as_json: bool, **options: str | None
) -> None:
    """Put events back into their queue, behind those that wait there."""
    if everything == bool(ids):
        raise click.UsageError("Name the events to retry, or say --all.")
    chosen = None if everything else list(ids)
    count = _native.consumer_retry(given(**options), queue, chosen)
    print_count("retried", count, as_json=as_json)


@consumer.command()
@queue_option
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@setting_options("rabbitmq_url")
@json_option
def skip(*, queue: str, ids: tuple[str, ...], as_json: bool, **options: str | None) -> None:
    """Give events up for good."""
    count = _native.consumer_skip(given(**options), queue, list(ids))
    print_count("skipped", count, as_json=as_json)
