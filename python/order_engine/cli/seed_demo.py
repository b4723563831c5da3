"""`order-engine seed-demo`: a user and a few products to try the engine with."""

from __future__ import annotations

import click

from order_engine import _native
from order_engine.cli.output import print_columns
from order_engine.cli.settings import given, setting_options


@click.command("seed-demo")
@setting_options("database_url")
def seed_demo(**options: str | None) -> None:
    """Add a demo user and demo products; safe to repeat."""
    catalogue = _native.seed_demo(given(**options))
    click.echo(f"demo user {catalogue.user_id}")
    print_columns(catalogue.products, heading=("PRODUCT", "NAME", "PRICE", "STOCK"))
