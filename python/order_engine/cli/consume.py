"""`order-engine consume`: a process that only consumes the events of other services."""

from __future__ import annotations

import click

from order_engine.cli.running import with_database, work_until_stopped
from order_engine.cli.settings import setting_options


@click.command()
@setting_options("contract", "database_url", "rabbitmq_url")
def consume(**options: str | tuple[str, ...] | None) -> None:
    """Consume user, product and stock events until Ctrl-C, SIGTERM or SIGHUP.

    Use it if the engine runs inside another program, where it does not consume by default. If
    several of these processes run, one consumes; another takes over when it stops.
    """
    work_until_stopped(
        with_database(**options), "consumer", lambda: click.echo("Consuming events", err=True)
    )
