"""`order-engine migrate`: apply pending schema migrations."""

from __future__ import annotations

import click

from order_engine import _native
from order_engine.cli.running import with_database
from order_engine.cli.settings import setting_options


@click.command()
@setting_options("database_url")
def migrate(**options: str | None) -> None:
    """Apply pending schema migrations. Safe to repeat."""
    applied = _native.migrate(with_database(**options))
    for name in applied:
        click.echo(f"applied {name}")
    if not applied:
        click.echo("the database is up to date")
