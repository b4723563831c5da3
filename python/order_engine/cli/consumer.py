"""`order-engine consumer`: inspect, retry and skip the dead letters of consumer scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from order_engine import _native
from order_engine.cli.output import json_option, print_count, print_rows
from order_engine.cli.settings import merge_options, setting_options

if TYPE_CHECKING:
    from collections.abc import Callable

DEAD_LETTER_FIELDS = ("id", "routing_key", "attempts", "dead_lettered_at", "reason")

P = ParamSpec("P")
R = TypeVar("R")


def queue_option(command: Callable[P, R]) -> Callable[P, R]:
    """Add the required option `--queue`, passed as `queue`."""
    text = "The queue that the script consumes."
    return click.option("--queue", required=True, metavar="NAME", help=text)(command)


@click.group()
def consumer() -> None:
    """Inspect, retry and skip the dead letters of a consumer script.

    They are stored on the broker, in the queue NAME.dead-letters.
    """


@consumer.command("dead-letters")
@queue_option
@click.option(
    "--limit", type=int, default=100, show_default=True, help="Maximum number of rows, 1 to 1000."
)
@setting_options("rabbitmq_url")
@json_option
def dead_letters(*, queue: str, limit: int, as_json: bool, **options: str | None) -> None:
    """List dead letters with their messages, oldest first."""
    rows = _native.consumer_dead_letters(merge_options(**options), queue, limit)
    fields = (*DEAD_LETTER_FIELDS, "message_id") if as_json else DEAD_LETTER_FIELDS
    print_rows(rows, fields, as_json=as_json, below="text")


@consumer.command()
@queue_option
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="Retry all dead letters.")
@setting_options("rabbitmq_url")
@json_option
def retry(
    *, queue: str, ids: tuple[str, ...], everything: bool, as_json: bool, **options: str | None
) -> None:
    """Move dead letters back to the end of their queue."""
    if everything == bool(ids):
        raise click.UsageError("Give the ids of the dead letters to retry, or --all.")
    chosen = None if everything else list(ids)
    count = _native.consumer_retry(merge_options(**options), queue, chosen)
    print_count("retried", count, as_json=as_json)


@consumer.command()
@queue_option
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@setting_options("rabbitmq_url")
@json_option
def skip(*, queue: str, ids: tuple[str, ...], as_json: bool, **options: str | None) -> None:
    """Delete dead letters permanently."""
    count = _native.consumer_skip(merge_options(**options), queue, list(ids))
    print_count("skipped", count, as_json=as_json)
