"""`order-engine config`: the settings that take effect, and who gave them."""

from __future__ import annotations

import click

from order_engine import _native
from order_engine.cli.output import json_option, print_columns, print_json
from order_engine.cli.settings import OPTIONS, given, setting_options


@click.command()
@setting_options(*OPTIONS)
@json_option
def config(*, as_json: bool, **options: str | tuple[str, ...] | None) -> None:
    """Show the settings that take effect, and their origin.

    Secrets are masked.
    """
    settings = _native.describe_settings(given(**options))
    if as_json:
        print_json(settings, ("name", "value", "origin"))
        return
    print_columns(
        ((each.name, each.value, each.origin) for each in settings),
        heading=("SETTING", "VALUE", "ORIGIN"),
    )
