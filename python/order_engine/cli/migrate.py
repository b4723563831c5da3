"""`order-engine migrate`: the database's tables, brought to this version."""

from __future__ import annotations

import click

from order_engine import _native
from order_engine.cli.settings import given, setting_options


@click.command()
@setting_options("database_url")
def migrate(**options: str | None) -> None:
    """Bring the database to this version's tables; safe to repeat."""
    applied = _native.migrate(given(**options))
    for name in applied:
        click.echo(f"applied {name}")
    if not applied:
        click.echo("the database is up to date")
