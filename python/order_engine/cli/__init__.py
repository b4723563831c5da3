"""The `order-engine` command: parses what is typed, shows what comes back; the work is native."""

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
from order_engine.cli.doctor import doctor
from order_engine.cli.errors import ReadableErrors
from order_engine.cli.events import events
from order_engine.cli.migrate import migrate
from order_engine.cli.relay import relay
from order_engine.cli.seed_demo import seed_demo
from order_engine.cli.serve import serve
from order_engine.cli.shadow import shadow
from order_engine.cli.switch import switch
from order_engine.cli.token import token


@click.group(cls=ReadableErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(order_engine.__version__, prog_name="order-engine")
def cli() -> None:
    """Take orders, keep them, announce them.

    Settings come from options, then the environment, then .env, then order-engine.toml;
    `order-engine config` shows what takes effect.
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
    events,
    switch,
    shadow,
    consumer,
    seed_demo,
    demo,
):
    cli.add_command(_command)


def main() -> None:
    """Run the command line of this process."""
    for stream in (sys.stdout, sys.stderr):
        # An old terminal that lacks a character shows a question mark instead of a traceback.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    cli(prog_name="order-engine")
