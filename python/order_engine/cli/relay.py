"""`order-engine relay`: a process that only publishes events."""

from __future__ import annotations

import click

from order_engine.cli import log_lines
from order_engine.cli.running import with_database, work_until_stopped
from order_engine.cli.settings import setting_options


@click.command()
@setting_options("contract", "database_url", "rabbitmq_url")
def relay(**options: str | tuple[str, ...] | None) -> None:
    """Publish order events until Ctrl-C, SIGTERM or SIGHUP.

    Use it if the web processes run with ORDER_ENGINE_RELAY=false. Several relays can run at once.
    """
    work_until_stopped(
        with_database(**options), "relay", lambda: log_lines.write("Publishing events")
    )
