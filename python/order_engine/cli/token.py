"""`order-engine token`: issue a signed token, for tests and first steps."""

from __future__ import annotations

import click

from order_engine import _native
from order_engine.cli.duration import Duration
from order_engine.cli.settings import merge_options, setting_options


@click.command()
@click.option(
    "--user", "user_id", required=True, metavar="ID", help="User id to issue the token for."
)
@click.option("--admin", is_flag=True, help="Grant the admin role.")
@click.option(
    "--expires",
    type=Duration(),
    default="1h",
    show_default=True,
    metavar="TIME",
    help="Lifetime: 90m, 12h, 7d; at most 365 days.",
)
@setting_options("jwt_secret_key")
def token(*, user_id: str, admin: bool, expires: int, **options: str | None) -> None:
    """Print a JWT signed with the configured secret (jwt_secret_key)."""
    click.echo(_native.mint_token(merge_options(**options), user_id, admin, expires))
