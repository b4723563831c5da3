"""`order-engine openapi`, `schema` and `asyncapi`: what a contract looks like from outside."""

from __future__ import annotations

import click

from order_engine import _native
from order_engine.cli.settings import given


def _print(contract: str, language: str) -> None:
    click.echo(_native.describe_contract(given(), contract, language), nl=False)


def _contract(language: str) -> str:
    """Say which contracts have what the language describes, in a command's usage."""
    return "|".join(_native.described_contracts(language))


@click.command()
@click.option("--contract", required=True, metavar=_contract("openapi"), help="Whose REST door.")
def openapi(*, contract: str) -> None:
    """Print the OpenAPI 3.1 document of a contract's REST door.

    It is what the door shows at /openapi.json with the same settings.
    """
    _print(contract, "openapi")


@click.command()
@click.option("--contract", required=True, metavar=_contract("graphql"), help="Whose schema.")
def schema(*, contract: str) -> None:
    """Print the GraphQL schema of a contract, in GraphQL's own language."""
    _print(contract, "graphql")


@click.command()
@click.option("--contract", required=True, metavar=_contract("asyncapi"), help="Whose events.")
def asyncapi(*, contract: str) -> None:
    """Print the AsyncAPI 3.0 document of a contract's events, out and in.

    Exchanges and queues are those of the settings.
    """
    _print(contract, "asyncapi")
