"""`order-engine consume`: a process that does nothing but take in what other services say."""

from __future__ import annotations

import click

from order_engine.cli.running import work_until_stopped
from order_engine.cli.settings import given, setting_options


@click.command()
@setting_options("contract", "database_url", "rabbitmq_url")
def consume(**options: str | tuple[str, ...] | None) -> None:
    """Take in users, products and stock until Ctrl-C or SIGTERM.

    For an engine inside another program, which leaves this to others. Of several such processes
    one works at a time, and the next takes over when it ends.
    """
    work_until_stopped(given(**options), "intake", lambda: click.echo("Taking events in", err=True))
