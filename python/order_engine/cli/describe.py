"""`order-engine openapi`, `schema` and `asyncapi`: machine-readable descriptions of a contract."""

from __future__ import annotations

import click

from order_engine import _native
from order_engine.cli.settings import merge_options


def _print(contract: str, language: str) -> None:
    click.echo(_native.describe_contract(merge_options(), contract, language), nl=False)


def _contract_names(language: str) -> str:
    """Return the contracts that have such a description, for the usage line."""
    return "|".join(_native.described_contracts(language))


@click.command()
@click.option(
    "--contract",
    required=True,
    metavar=_contract_names("openapi"),
    help="The contract to describe.",
)
def openapi(*, contract: str) -> None:
    """Print the OpenAPI 3.1 document of a contract's REST API.

    The API serves the same document at /openapi.json.
    """
    _print(contract, "openapi")


@click.command()
@click.option(
    "--contract",
    required=True,
    metavar=_contract_names("graphql"),
    help="The contract to describe.",
)
def schema(*, contract: str) -> None:
    """Print the GraphQL schema of a contract in the schema definition language."""
    _print(contract, "graphql")


@click.command()
@click.option(
    "--contract",
    required=True,
    metavar=_contract_names("asyncapi"),
    help="The contract to describe.",
)
def asyncapi(*, contract: str) -> None:
    """Print the AsyncAPI 3.0 document of the events a contract publishes and consumes.

    Exchange and queue names are taken from the settings.
    """
    _print(contract, "asyncapi")
