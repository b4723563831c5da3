"""`order-engine doctor`: check the settings and everything the engine connects to."""

from __future__ import annotations

import click

from order_engine import _native
from order_engine.cli.errors import Failure
from order_engine.cli.output import json_option, print_json
from order_engine.cli.running import with_database
from order_engine.cli.settings import OPTIONS, is_in_app, setting_options


@click.command()
@setting_options(*OPTIONS)
@json_option
def doctor(*, as_json: bool, **options: str | tuple[str, ...] | None) -> None:
    """Check settings, database, brokers, Redis, upstream services and ports.

    Prints a remedy for each failed check and each warning. Exits with status 1 if a check failed.
    """
    # In a Flask app the engine has no port of its own, and the running app uses its port.
    checks = _native.doctor(with_database(**options), check_ports=not is_in_app())
    if as_json:
        print_json(checks, ("name", "ok", "detail", "remedy"))
    else:
        _print_table(checks)
    if not all(check.ok for check in checks):
        raise click.exceptions.Exit(Failure.exit_code)


def _print_table(checks: list[_native.Check]) -> None:
    width = max((len(check.name) for check in checks), default=0)
    for check in checks:
        click.echo(f"{_mark(check)}  {check.name.ljust(width)}  {check.detail}")
        if check.remedy:
            click.echo(f"{' ' * (11 + width)}  → {check.remedy}")


def _mark(check: _native.Check) -> str:
    if not check.ok:
        return click.style("✗ failed ", fg="red")
    if check.remedy:
        return click.style("! warning", fg="yellow")
    return click.style("✓ ok     ", fg="green")
