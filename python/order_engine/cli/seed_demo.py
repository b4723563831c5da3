"""`order-engine seed-demo`: create a demo user and demo products."""

from __future__ import annotations

import click

from order_engine import _native
from order_engine.cli.output import print_columns
from order_engine.cli.running import with_database
from order_engine.cli.settings import setting_options


@click.command("seed-demo")
@setting_options("database_url")
def seed_demo(**options: str | None) -> None:
    """Create a demo user and demo products. Safe to repeat."""
    catalogue = _native.seed_demo(with_database(**options))
    click.echo(f"demo user {catalogue.user_id}")
    print_columns(catalogue.products, heading=("PRODUCT", "NAME", "PRICE", "STOCK"))
