"""`order-engine serve`: serve the APIs of the configured contracts."""

from __future__ import annotations

import click

from order_engine import database
from order_engine.cli import log_lines
from order_engine.cli.running import serve_until_stopped, with_database
from order_engine.cli.settings import OPTIONS, merge_options, setting_options


@click.command()
@setting_options(*OPTIONS)
def serve(**options: str | tuple[str, ...] | None) -> None:
    """Serve the configured contracts until Ctrl-C, SIGTERM or SIGHUP.

    Without a database URL, the embedded PostgreSQL in ./.order-engine is used. It requires
    pip install 'order-engine[embedded]'.
    """
    database.validate(merge_options(**options))
    serve_until_stopped(with_database(**options), _print_urls)


def _print_urls(urls: list[str]) -> None:
    for url in urls:
        log_lines.write(f"Serving at {url}")
