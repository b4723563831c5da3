"""`order-engine demo`: a server with an embedded database, demo data and a token."""

from __future__ import annotations

import json
import socket
from functools import partial
from typing import TYPE_CHECKING

import click

from order_engine import _native, configuration, state
from order_engine.cli.running import serve_until_stopped, with_embedded_database
from order_engine.cli.settings import merge_options, setting_options
from order_engine.exceptions import Misconfigured

if TYPE_CHECKING:
    from pathlib import Path

HOST = "127.0.0.1"
TOKEN_LIFETIME_S = 12 * 3600
ORDER_FIELDS = "{ id userId productId quantity status }"


@click.command()
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=5000,
    show_default=True,
    help="Port to listen on, on the loopback interface.",
)
@setting_options("rabbitmq_url")
def demo(*, port: int, **options: str | None) -> None:
    """Start a demo: the engine with an embedded PostgreSQL.

    Creates demo products and a token, and prints what to do next. Data is kept in ./.order-engine
    and used again by the next start.
    """
    _check_port(port)
    folder = state.open_folder(state.DEFAULT_FOLDER)
    flags = merge_options(
        contract="flask",
        host=HOST,
        port=str(port),
        jwt_secret_key=_demo_secret(folder),
        **options,
    )
    settings = with_embedded_database(flags)
    catalog = _native.seed_demo(settings)
    token = _native.mint_token(settings, catalog.user_id, expires_seconds=TOKEN_LIFETIME_S)
    serve_until_stopped(settings, partial(_print_instructions, settings, catalog, token))


def _check_port(port: int) -> None:
    """Fail before the database is started, rather than several seconds later."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise Misconfigured(
                f"Port {port} on {HOST} cannot be used: {error.strerror}. "
                f"Stop the program that uses it, or choose another: --port {port % 65535 + 1}"
            ) from None


def _demo_secret(folder: Path) -> str | None:
    """Return the demo's own signing secret, or None if one is configured."""
    if configuration.has({}, "jwt_secret_key"):
        return None
    return state.secret(folder / "jwt-secret")


def _print_instructions(
    flags: dict[str, str], catalog: _native.DemoCatalog, token: str, urls: list[str]
) -> None:
    """Print how to place an order and read it back."""
    endpoint = f"{urls[0].replace(HOST, 'localhost')}/graphql"
    product = catalog.products[0]
    place = (
        f"mutation {{ placeOrder(userId: {catalog.user_id}, productId: {product.product_id}, "
        f"quantity: 2) {{ success message order {ORDER_FIELDS} }} }}"
    )
    events = (
        "are published to RabbitMQ"
        if configuration.has(flags, "rabbitmq_url")
        else "stay in the outbox; set RABBITMQ_URL to publish them"
    )
    click.echo(
        f"""
The order engine is ready. Press Ctrl-C to stop it; its data stays in ./{state.DEFAULT_FOLDER}.

Playground, with the token filled in:
  {endpoint}#token={token}

Token of user {catalog.user_id}, valid for {TOKEN_LIFETIME_S // 3600} hours:
  {token}

Place an order for two of {product.name} at {product.price}:
{_curl(endpoint, token, place)}

Read it back:
{_curl(endpoint, token, f"{{ getOrders {ORDER_FIELDS} }}")}

Order events {events}.
"""
    )


def _curl(endpoint: str, token: str, query: str) -> str:
    return (
        f"  curl -s {endpoint} \\\n"
        f"    -H 'Authorization: Bearer {token}' \\\n"
        f"    -H 'Content-Type: application/json' \\\n"
        f"    -d '{json.dumps({'query': query})}'"
    )
