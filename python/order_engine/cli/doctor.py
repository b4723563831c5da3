"""`order-engine doctor`: whether everything the engine needs is there, before it starts."""

from __future__ import annotations

import click

from order_engine import _native
from order_engine.cli.errors import Failure
from order_engine.cli.output import json_option, print_json
from order_engine.cli.settings import OPTIONS, given, setting_options


@click.command()
@setting_options(*OPTIONS)
@json_option
def doctor(*, as_json: bool, **options: str | tuple[str, ...] | None) -> None:
    """Check everything the engine needs.

    Settings, database, brokers, Redis, the services that are asked, ports: for the contracts named.
    Says what was found and what to do about what is wrong. Exits with 1 when something is not ok.
    """
    checks = _native.doctor(given(**options))
    if as_json:
        print_json(checks, ("name", "ok", "detail", "remedy"))
    else:
        _print_for_people(checks)
    if not all(check.ok for check in checks):
        raise click.exceptions.Exit(Failure.exit_code)


def _print_for_people(checks: list[_native.Check]) -> None:
    width = max((len(check.name) for check in checks), default=0)
    for check in checks:
        mark = (
            click.style("✓ ok    ", fg="green") if check.ok else click.style("✗ failed", fg="red")
        )
        click.echo(f"{mark}  {check.name.ljust(width)}  {check.detail}")
        if check.remedy:
            click.echo(f"{' ' * (10 + width)}  → {check.remedy}")
