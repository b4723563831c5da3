"""`flask order-engine …`: the commands, run with the settings of a Flask app."""

from __future__ import annotations

import click

from order_engine.cli.adopt import adopt
from order_engine.cli.consume import consume
from order_engine.cli.doctor import doctor
from order_engine.cli.errors import ReadableErrors
from order_engine.cli.events import events
from order_engine.cli.migrate import migrate
from order_engine.cli.relay import relay
from order_engine.cli.route import route
from order_engine.cli.settings import app_settings
from order_engine.cli.shadow import shadow
from order_engine.cli.token import token


def group(flags: dict[str, str]) -> click.Group:
    """Return the command group for an app with these settings."""

    @click.group("order-engine", cls=ReadableErrors)
    @click.pass_context
    def order_engine(context: click.Context) -> None:
        """Operate the order engine of this app."""
        context.with_resource(app_settings(flags))

    for command in (migrate, adopt, doctor, relay, consume, token, events, route, shadow):
        order_engine.add_command(command)
    return order_engine
