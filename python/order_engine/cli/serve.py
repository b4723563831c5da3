"""`order-engine serve`: open the doors of the configured contracts."""

from __future__ import annotations

from contextlib import nullcontext

import click

from order_engine import configuration
from order_engine.cli.running import embedded_database, serve_until_stopped
from order_engine.cli.settings import OPTIONS, given, setting_options


@click.command()
@setting_options(*OPTIONS)
def serve(**options: str | tuple[str, ...] | None) -> None:
    """Serve orders until Ctrl-C or SIGTERM.

    Without a database URL an embedded PostgreSQL serves, its data in ./.order-engine
    (it needs: pip install 'order-engine[embedded]').
    """
    flags = given(**options)
    has_database = configuration.has(flags, "database_url")
    with nullcontext(flags) if has_database else embedded_database(flags) as settings:
        serve_until_stopped(settings, _announce)


def _announce(urls: list[str]) -> None:
    for url in urls:
        click.echo(f"Serving at {url}", err=True)
