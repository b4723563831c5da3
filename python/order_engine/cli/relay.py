"""`order-engine relay`: a process that does nothing but send events."""

from __future__ import annotations

import click

from order_engine.cli.running import work_until_stopped
from order_engine.cli.settings import given, setting_options


@click.command()
@setting_options("contract", "database_url", "rabbitmq_url")
def relay(**options: str | tuple[str, ...] | None) -> None:
    """Send the events of orders until Ctrl-C or SIGTERM.

    For web processes that run with ORDER_ENGINE_RELAY=false. Several may run: they share the work.
    """
    work_until_stopped(given(**options), "relay", lambda: click.echo("Sending events", err=True))
