"""`order-engine route`: choose whether the app's own code or the engine handles an operation."""

from __future__ import annotations

import click

from order_engine import _native
from order_engine.cli import log_lines
from order_engine.cli.output import json_option, print_columns, print_json
from order_engine.cli.running import with_database
from order_engine.cli.settings import setting_options

EXAMPLES = """\b
Examples:
  order-engine route createOrder shadow
  order-engine route createOrder engine --percent 10
  order-engine route createOrder legacy
  order-engine route --all legacy
"""
FIELDS = ("operation", "stage", "percent", "users", "ignored", "updated_at")


@click.command(epilog=EXAMPLES)
@click.argument("operation", required=False)
@click.argument(
    "stage", required=False, type=click.Choice(["legacy", "shadow", "engine", "default"])
)
@click.option("--all", "everything", is_flag=True, help="Set the stage of all operations.")
@click.option(
    "--percent",
    type=click.IntRange(0, 100),
    help="Apply the stage to this percentage of users only.",
)
@click.option(
    "--user",
    "users",
    multiple=True,
    metavar="ID",
    help="Apply the stage to this user only; may be repeated.",
)
@setting_options("database_url")
@json_option
def route(  # noqa: PLR0913 - one parameter per option.
    *,
    operation: str | None,
    stage: str | None,
    everything: bool,
    percent: int | None,
    users: tuple[str, ...],
    as_json: bool,
    **options: str | None,
) -> None:
    """Show or set the migration stage of OPERATION: legacy, shadow or engine.

    OPERATION is a GraphQL field such as createOrder, or a route such as "GET /". With `legacy`
    the app's own code answers. With `shadow` the app's own code answers, the engine executes the
    request without effect, and both answers are compared. With `engine` the engine answers.
    `default` removes the rule. Users outside --percent and --user get the stage before it: shadow
    instead of engine, legacy instead of shadow. Running processes apply a change within a second.
    """
    flags = with_database(**options)
    if everything:
        # With --all the only positional argument is the stage.
        operation, stage = None, _stage_of_all(operation, stage)
    elif operation is None:
        _show(_native.routing_rules(flags), as_json=as_json)
        return
    elif stage is None:
        matching = [one for one in _native.routing_rules(flags) if one.operation == operation]
        _show(matching, as_json=as_json)
        return
    stage_or_none = None if stage == "default" else stage
    is_known = _native.set_routing_rule(flags, operation, stage_or_none, percent, list(users))
    if not is_known:
        text = f"the engine has no operation {operation}. Check the spelling."
        log_lines.write(text, level="WARN", plain=f"Warning: {text}")
    click.echo(f"{operation or 'all operations'}: {_description(stage, percent, users)}")


def _stage_of_all(operation: str | None, stage: str | None) -> str:
    choices = ("legacy", "shadow", "engine", "default")
    if stage is not None or operation not in choices:
        raise click.UsageError(f"--all takes one argument: {', '.join(choices)}.")
    return operation


def _description(stage: str, percent: int | None, users: tuple[str, ...]) -> str:
    subjects = [] if percent is None else [f"{percent} % of users"]
    subjects += [f"user {user}" for user in users]
    return f"{stage} for {', '.join(subjects)}" if subjects else stage


def _show(switches: list[_native.RoutingRule], *, as_json: bool) -> None:
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
