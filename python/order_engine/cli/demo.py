"""`order-engine demo`: from nothing to a first order, with everything included."""

from __future__ import annotations

import json
import socket
from functools import partial
from typing import TYPE_CHECKING

import click

from order_engine import _native, configuration, state
from order_engine.cli.running import embedded_database, serve_until_stopped
from order_engine.cli.settings import given, setting_options
from order_engine.exceptions import Misconfigured

if TYPE_CHECKING:
    from pathlib import Path

HOST = "127.0.0.1"
TOKEN_LIFE_S = 12 * 3600
ORDER_FIELDS = "{ id userId productId quantity status }"


@click.command()
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=5000,
    show_default=True,
    help="The port to serve at, on this machine only.",
)
@setting_options("rabbitmq_url")
def demo(*, port: int, **options: str | None) -> None:
    """Start with everything included, to try it.

    That is an embedded PostgreSQL, demo products, and a token; what to do with them is printed.
    Everything is kept in ./.order-engine; the next start finds it again.
    """
    _refuse_taken_port(port)
    folder = state.open_folder(state.DEFAULT_FOLDER)
    flags = given(
        contract="flask",
        host=HOST,
        port=str(port),
        jwt_secret_key=_own_secret(folder),
        **options,
    )
    with embedded_database(flags) as settings:
        catalogue = _native.seed_demo(settings)
        token = _native.mint_token(settings, catalogue.user_id, expires_seconds=TOKEN_LIFE_S)
        serve_until_stopped(settings, partial(_explain, settings, catalogue, token))


def _refuse_taken_port(port: int) -> None:
    """Fail before the database is started; the server would notice much later."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise Misconfigured(
                f"Port {port} on {HOST} cannot be used: {error.strerror}. "
                f"Stop the program that has it, or choose another: --port {port % 65535 + 1}"
            ) from None


def _own_secret(folder: Path) -> str | None:
    """Give the demo a signing secret of its own unless one is configured."""
    if configuration.has({}, "jwt_secret_key"):
        return None
    return state.secret(folder / "jwt-secret")


def _explain(
    flags: dict[str, str], catalogue: _native.DemoCatalogue, token: str, urls: list[str]
) -> None:
    """Print what a newcomer needs to place an order and see it."""
    endpoint = f"{urls[0].replace(HOST, 'localhost')}/graphql"
    product_id, product_name, price, _stock = catalogue.products[0]
    place = (
        f"mutation {{ placeOrder(userId: {catalogue.user_id}, productId: {product_id}, "
        f"quantity: 2) {{ success message order {ORDER_FIELDS} }} }}"
    )
    events = (
        "are sent to RabbitMQ"
        if configuration.has(flags, "rabbitmq_url")
        else "wait in the database until RABBITMQ_URL names a RabbitMQ"
    )
    click.echo(
        f"""
The order engine is ready. Ctrl-C stops it; what it knows stays in ./{state.DEFAULT_FOLDER}.

Playground, with the token filled in:
  {endpoint}#token={token}

Token of user {catalogue.user_id}, valid for {TOKEN_LIFE_S // 3600} hours:
  {token}

Place an order of two pieces of {product_name} at {price}:
{_curl(endpoint, token, place)}

Read it back:
{_curl(endpoint, token, f"{{ getOrders {ORDER_FIELDS} }}")}

Events of orders {events}.
"""
    )


def _curl(endpoint: str, token: str, query: str) -> str:
    return (
        f"  curl -s {endpoint} \\\n"
        f"    -H 'Authorization: Bearer {token}' \\\n"
        f"    -H 'Content-Type: application/json' \\\n"
        f"    -d '{json.dumps({'query': query})}'"
    )
