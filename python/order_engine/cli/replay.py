"""`order-engine events replay`: past events told again, with progress and a way to go on."""

from __future__ import annotations

import json
import shlex
import sys
from datetime import datetime

import click

from order_engine import _native
from order_engine.cli.moment import Moment
from order_engine.cli.output import json_option
from order_engine.cli.settings import given, setting_options


@click.command()
@click.option(
    "--order",
    "order_ids",
    type=int,
    multiple=True,
    metavar="ID",
    help="Only events of this order; may be repeated.",
)
@click.option(
    "--since",
    type=Moment(),
    metavar="TIME",
    help="Only events from this time on: 2026-03-01T12:00, or how long ago, like 2h.",
)
@click.option(
    "--until",
    type=Moment(),
    metavar="TIME",
    help="Only events before this time; now by default.",
)
@click.option(
    "--after",
    metavar="CURSOR",
    help="Only events behind this one: where an earlier replay was left.",
)
@click.option("--rate", type=int, default=1000, show_default=True, help="Messages per second.")
@click.option("--dry-run", is_flag=True, help="Only count what would be told.")
@setting_options("contract", "database_url")
@json_option
def replay(  # noqa: PLR0913 - an option for each.
    *,
    order_ids: tuple[int, ...],
    since: datetime | None,
    until: datetime | None,
    after: str | None,
    rate: int,
    dry_run: bool,
    as_json: bool,
    **options: str | tuple[str, ...] | None,
) -> None:
    """Tell past events again, for consumers that have missed them.

    The messages carry the header `x-replay: true` and the ids of the first time. An engine that
    serves the contract sends them. Ctrl-C ends it; what it prints then goes on.
    """
    progress = _Progress(quiet=as_json)
    past = (list(order_ids), since, until, after)
    try:
        done = _native.events_replay(given(**options), past, rate, dry_run, progress.tell)
    except BaseException:
        progress.say_how_to_go_on()
        raise
    progress.end()
    if as_json:
        click.echo(json.dumps(done.to_dict(), default=datetime.isoformat))
        return
    would = "would be told" if dry_run else "told"
    click.echo(f"{done.events} events {would} again, in {done.messages} messages")
    if done.waiting:
        click.echo(f"{done.waiting} of them wait to be sent")


class _Progress:
    """Tells on standard error how far a replay has come: one line, where that is a terminal."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._is_terminal = sys.stderr.isatty()
        self._last: _native.Replayed | None = None

    def tell(self, done: _native.Replayed) -> None:
        self._last = done
        if not self._quiet:
            text = f"{done.events} events, up to {done.cursor}; {done.waiting} messages wait"
            click.echo(
                f"\r{text}" if self._is_terminal else text, err=True, nl=not self._is_terminal
            )

    def end(self) -> None:
        if self._is_terminal and self._last is not None and not self._quiet:
            click.echo(err=True)

    def say_how_to_go_on(self) -> None:
        self.end()
        if self._last is not None and self._last.cursor is not None:
            until = self._last.until.isoformat()
            words = ["--after", self._last.cursor, "--until", until]
            click.echo(f"To go on: the same with {shlex.join(words)}", err=True)
