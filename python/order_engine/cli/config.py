"""`order-engine config`: the effective settings and their origin."""

from __future__ import annotations

import click

from order_engine import _native
from order_engine.cli import log_lines
from order_engine.cli.output import json_option, print_columns, print_json
from order_engine.cli.settings import OPTIONS, merge_options, setting_options


@click.command()
@setting_options(*OPTIONS)
@json_option
def config(*, as_json: bool, **options: str | tuple[str, ...] | None) -> None:
    """Show the effective value and the origin of each setting.

    Secrets are masked.
    """
    settings = _native.describe_settings(merge_options(**options))
    for problem in _native.unknown_variables():
        log_lines.write(problem, level="WARN", plain=f"Warning: {problem}")
    if as_json:
        print_json(settings, ("name", "value", "origin"))
        return
    print_columns(
        ((each.name, each.value, each.origin) for each in settings),
        heading=("SETTING", "VALUE", "ORIGIN"),
    )
