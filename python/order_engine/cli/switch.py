"""`order-engine switch`: who answers an operation, the app's own code or the engine."""

from __future__ import annotations

import click

from order_engine import _native
from order_engine.cli.output import json_option, print_columns, print_json
from order_engine.cli.settings import given, setting_options

FIELDS = ("operation", "stage", "percent", "users", "ignored", "updated_at")


@click.command()
@click.argument("operation", required=False)
@click.argument(
    "stage", required=False, type=click.Choice(["legacy", "shadow", "engine", "default"])
)
@click.option("--all", "everything", is_flag=True, help="Set the stage of all operations at once.")
@click.option("--percent", type=click.IntRange(0, 100), help="Only for this share of users.")
@click.option("--user", "users", multiple=True, metavar="ID", help="Only for this user; repeat.")
@setting_options("database_url")
@json_option
def switch(  # noqa: PLR0913 - one for each option.
    *,
    operation: str | None,
    stage: str | None,
    everything: bool,
    percent: int | None,
    users: tuple[str, ...],
    as_json: bool,
    **options: str | None,
) -> None:
    r"""Show or set who answers OPERATION: legacy, shadow or engine.

    OPERATION is a GraphQL field such as createOrder, or a route such as "GET /". In `legacy` the
    app's own code answers; in `shadow` too, and the engine's answer is compared with it; in
    `engine` the engine answers. `default` takes the stage away again. Users for whom a stage does
    not hold get the one before it. Running processes follow within a second.

    \b
    order-engine switch createOrder shadow
    order-engine switch createOrder engine --percent 10
    order-engine switch createOrder legacy
    order-engine switch --all legacy
    """
    flags = given(**options)
    if everything:
        # The only argument is then the stage.
        operation, stage = None, _stage_of_all(operation, stage)
    elif operation is None:
        _show(_native.switches(flags), as_json=as_json)
        return
    elif stage is None:
        named = [one for one in _native.switches(flags) if one.operation == operation]
        _show(named, as_json=as_json)
        return
    stage_or_none = None if stage == "default" else stage
    is_known = _native.switch(flags, operation, stage_or_none, percent, list(users))
    if not is_known:
        click.echo(
            f"Note: the engine has no operation {operation}; it matters only if the app has it.",
            err=True,
        )
    click.echo(f"{operation or 'all operations'}: {_description(stage, percent, users)}")


def _stage_of_all(operation: str | None, stage: str | None) -> str:
    choices = ("legacy", "shadow", "engine", "default")
    if stage is not None or operation not in choices:
        raise click.UsageError(f"Say --all and one of {', '.join(choices)}.")
    return operation


def _description(stage: str, percent: int | None, users: tuple[str, ...]) -> str:
    holders = [] if percent is None else [f"{percent} % of users"]
    holders += [f"user {user}" for user in users]
    return f"{stage} for {', '.join(holders)}" if holders else stage


def _show(switches: list[_native.Switch], *, as_json: bool) -> None:
    if as_json:
        print_json(switches, FIELDS)
        return
    print_columns(
        (
            [
                one.operation,
                one.stage or "default",
                one.percent,
                ", ".join(one.users) or None,
                ", ".join(one.ignored) or None,
                one.updated_at,
            ]
            for one in switches
        ),
        heading=[field.upper() for field in FIELDS],
    )
