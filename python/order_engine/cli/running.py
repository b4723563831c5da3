"""What the commands that run until a signal have in common, and the database of all commands."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from order_engine import _native, configuration, database
from order_engine.cli import log_lines
from order_engine.cli.settings import merge_options
from order_engine.consumer.signals import is_hangup_ignored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def with_database(**options: str | tuple[str, ...] | None) -> dict[str, str]:
    """Return the given options as settings with a database URL.

    Without a configured database, the embedded PostgreSQL runs until the command ends.
    """
    flags = merge_options(**options)
    return flags if database.is_configured(flags) else with_embedded_database(flags)


def with_embedded_database(flags: dict[str, str]) -> dict[str, str]:
    """Return the settings with the URL of the embedded PostgreSQL, which runs as long as above."""
    log_lines.write(f"Using the embedded PostgreSQL in {database.FOLDER}")
    return click.get_current_context().with_resource(database.embedded(flags))


def serve_until_stopped(flags: dict[str, str], on_ready: Callable[[list[str]], None]) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP. SIGINT (Ctrl-C) is not an error."""
    with _default_sigint():
        _native.serve(configuration.with_pages(flags), _keeping_hangup(on_ready))


def work_until_stopped(flags: dict[str, str], role: str, on_ready: Callable[[], None]) -> None:
    """Run only the relay (`relay`) or only the consumer (`consumer`) until a signal."""
    with _default_sigint():
        _native.work(flags, role, _keeping_hangup(lambda _: on_ready()))


def _keeping_hangup(on_ready: Callable[[list[str]], None]) -> Callable[[list[str]], None]:
    """Ignore SIGHUP again once the native module has installed its handler, if it was ignored.

    A process that was started with nohup must outlive its terminal.
    """
    if not is_hangup_ignored():
        return on_ready

    def ready(urls: list[str]) -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        on_ready(urls)

    return ready


@contextmanager
def _default_sigint() -> Iterator[None]:
    """Restore the default action of SIGINT for the block.

    The native module forwards a signal to the handler that was installed before its own. Python's
    handler would raise KeyboardInterrupt after an orderly end.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
