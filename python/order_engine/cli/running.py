"""What `serve` and `demo` share: a database that is there, and a server that ends cleanly."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

import order_engine
from order_engine import _native, state
from order_engine.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PLAYGROUND = Path(order_engine.__file__).with_name("static") / "graphiql"


def has_setting(flags: dict[str, str], name: str) -> bool:
    """Tell whether a setting is given anywhere: options, environment, `.env`, file, default."""
    return any(
        setting.name == name and setting.value is not None
        for setting in _native.describe_settings(flags)
    )


@contextmanager
def embedded_database(flags: dict[str, str]) -> Iterator[dict[str, str]]:
    """Run the embedded PostgreSQL, migrated; gives the settings with its URL."""
    click.echo(f"Starting PostgreSQL, its data in ./{state.DEFAULT_FOLDER}/postgres", err=True)
    with EmbeddedPostgres() as url:
        flags = {**flags, "database_url": url}
        # Nobody else knows this database, so nobody else can have migrated it.
        _native.migrate(flags)
        yield flags


def serve_until_stopped(flags: dict[str, str], on_ready: Callable[[list[str]], None]) -> None:
    """Serve until SIGINT or SIGTERM; Ctrl-C ends the server and is no error.

    The native module passes a signal on to the handler it found. Python's own would raise a
    KeyboardInterrupt as soon as the server has ended well.
    """
    if not has_setting(flags, "playground_dir"):
        flags = {**flags, "playground_dir": str(PLAYGROUND)}
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        _native.serve(flags, on_ready)
    finally:
        signal.signal(signal.SIGINT, before)
