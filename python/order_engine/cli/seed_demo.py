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
    catalog = _native.seed_demo(with_database(**options))
    click.echo(f"demo user {catalog.user_id}")
    rows = [(each.product_id, each.name, each.price, each.quantity) for each in catalog.products]
    print_columns(rows, heading=("PRODUCT", "NAME", "PRICE", "STOCK"))
