"""What `serve` and `demo` share: a database that is there, and a server that ends cleanly."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from order_engine import _native, configuration, state
from order_engine.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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
    with _signals_left_alone():
        _native.serve(configuration.with_pages(flags), on_ready)


def work_until_stopped(flags: dict[str, str], duty: str, on_ready: Callable[[], None]) -> None:
    """Only send events (`relay`), or only take them in (`intake`), as long as `serve` would."""
    with _signals_left_alone():
        _native.work(flags, duty, lambda _: on_ready())


@contextmanager
def _signals_left_alone() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
