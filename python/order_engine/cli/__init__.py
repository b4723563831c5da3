"""The `order-engine` command: parses arguments, calls the native module, prints results."""

from __future__ import annotations

import io
import sys

import click

import order_engine
from order_engine.cli.adopt import adopt
from order_engine.cli.config import config
from order_engine.cli.consume import consume
from order_engine.cli.consumer import consumer
from order_engine.cli.demo import demo
from order_engine.cli.describe import asyncapi, openapi, schema
from order_engine.cli.docs import docs
from order_engine.cli.doctor import doctor
from order_engine.cli.errors import ReadableErrors
from order_engine.cli.events import events
from order_engine.cli.migrate import migrate
from order_engine.cli.relay import relay
from order_engine.cli.route import route
from order_engine.cli.seed_demo import seed_demo
from order_engine.cli.serve import serve
from order_engine.cli.shadow import shadow
from order_engine.cli.token import token


@click.group(cls=ReadableErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(order_engine.__version__, prog_name="order-engine")
def cli() -> None:
    """Run and operate the order engine.

    A setting is read from the first of these that has it: option, environment, .env,
    order-engine.toml. `order-engine config` shows the effective values. If no database URL is set,
    commands that need a database start the embedded PostgreSQL in ./.order-engine, except adopt.
    """


for _command in (
    serve,
    relay,
    consume,
    migrate,
    adopt,
    token,
    doctor,
    config,
    openapi,
    schema,
    asyncapi,
    docs,
    events,
    route,
    shadow,
    consumer,
    seed_demo,
    demo,
):
    cli.add_command(_command)


def main() -> None:
    """Entry point of the `order-engine` script."""
    for stream in (sys.stdout, sys.stderr):
        # Print "?" for a character that the terminal's encoding lacks, instead of failing.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    cli(prog_name="order-engine")
