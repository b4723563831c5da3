"""`order-engine token`: a signed token for a user, for tests and first steps."""

from __future__ import annotations

import click

from order_engine import _native
from order_engine.cli.duration import Duration
from order_engine.cli.settings import given, setting_options


@click.command()
@click.option("--user", "user_id", required=True, metavar="ID", help="Whom the token speaks for.")
@click.option("--admin", is_flag=True, help="Let it act for everybody.")
@click.option(
    "--expires",
    type=Duration(),
    default="1h",
    show_default=True,
    metavar="TIME",
    help="How long it is valid: 90m, 12h, 7d; at most a year.",
)
@setting_options("jwt_secret_key")
def token(*, user_id: str, admin: bool, expires: int, **options: str | None) -> None:
    """Print a token signed with the configured secret."""
    click.echo(_native.mint_token(given(**options), user_id, admin, expires))
