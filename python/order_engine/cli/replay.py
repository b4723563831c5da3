"""`order-engine events replay`: publish past events again, with progress; can be resumed."""

from __future__ import annotations

import json
import shlex
import sys
from datetime import datetime

import click

from order_engine import _native
from order_engine.cli.moment import Moment
from order_engine.cli.output import json_option
from order_engine.cli.running import with_database
from order_engine.cli.settings import setting_options


@click.command()
@click.option(
    "--order",
    "order_ids",
    multiple=True,
    metavar="ID",
    help="Only events of this order, by number or 24 hex digits; may be repeated.",
)
@click.option(
    "--since",
    type=Moment(),
    metavar="TIME",
    help="Only events from this time on: 2026-03-01T12:00, or a duration before now, such as 2h.",
)
@click.option(
    "--until",
    type=Moment(),
    metavar="TIME",
    help="Only events before this time. Default: now.",
)
@click.option(
    "--after",
    metavar="CURSOR",
    help="Only events after this cursor, as printed by an interrupted replay.",
)
@click.option("--rate", type=int, default=1000, show_default=True, help="Messages per second.")
@click.option("--dry-run", is_flag=True, help="Count the events; publish nothing.")
@setting_options("contract", "database_url")
@json_option
def replay(  # noqa: PLR0913 - an option for each.
    *,
    order_ids: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    after: str | None,
    rate: int,
    dry_run: bool,
    as_json: bool,
    **options: str | tuple[str, ...] | None,
) -> None:
    """Publish past events again, for example after a queue was lost.

    The messages have their original ids. A header marks them: `x-replay: true` on RabbitMQ,
    `replayed: true` on Kafka. They are added to the outbox; a running engine with this contract
    must publish them. If interrupted, the command prints the options that resume it.
    """
    progress = _Progress(quiet=as_json)
    try:
        done = _native.events_replay(
            with_database(**options),
            order_ids=order_ids or None,
            since=since,
            until=until,
            after=after,
            rate_per_s=rate,
            dry_run=dry_run,
            on_progress=progress.update,
        )
    except BaseException:
        progress.print_resume_options()
        raise
    progress.end()
    if as_json:
        click.echo(json.dumps(done.to_dict(), default=datetime.isoformat))
        return
    verb = "would replay" if dry_run else "replayed"
    click.echo(f"{verb} {done.events} events in {done.messages} messages")
    if done.waiting:
        click.echo(f"{done.waiting} of them are not published yet")


class _Progress:
    """Progress on standard error; on a terminal it overwrites its line."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._is_terminal = sys.stderr.isatty()
        self._last: _native.ReplayProgress | None = None

    def update(self, done: _native.ReplayProgress) -> None:
        self._last = done
        if not self._quiet:
            text = f"{done.events} events, up to {done.cursor}; {done.waiting} messages unpublished"
            click.echo(
                f"\r{text}" if self._is_terminal else text, err=True, nl=not self._is_terminal
            )

    def end(self) -> None:
        if self._is_terminal and self._last is not None and not self._quiet:
            click.echo(err=True)

    def print_resume_options(self) -> None:
        self.end()
        if self._last is not None and self._last.cursor is not None:
            until = self._last.until.isoformat()
            words = ["--after", self._last.cursor, "--until", until]
            click.echo(f"To resume, repeat the command with {shlex.join(words)}", err=True)
