"""Command line options that set a setting of the same name."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

P = ParamSpec("P")
R = TypeVar("R")

OPTIONS: dict[str, Callable[[Any], Any]] = {
    "contract": click.option(
        "--contract",
        multiple=True,
        metavar="NAME[:PORT]",
        help="Contract, with an optional port to serve it on; may be repeated. Default: flask.",
    ),
    "host": click.option(
        "--host", metavar="ADDRESS", help="Address to listen on. Default: 127.0.0.1."
    ),
    "port": click.option(
        "--port",
        metavar="PORT",
        help="Port of the first contract; 0 chooses a free port. Default: 5000 for flask.",
    ),
    "metrics_port": click.option(
        "--metrics-port",
        metavar="PORT",
        help="Separate port for /metrics, /healthz and /readyz; 0 chooses a free port. Default: "
        "9202 for gateway, else none.",
    ),
    "access": click.option(
        "--access",
        metavar="owner|roles|any-valid-token",
        help="What a valid token permits. owner: the user's own orders (admins: all orders); "
        "roles: as owner, but users can only cancel; any-valid-token: everything.",
    ),
    "database_url": click.option(
        "--database-url",
        metavar="URL",
        help="PostgreSQL URL: postgresql://user:password@host:port/database. Other users can see "
        "arguments; prefer the environment variable DATABASE_URL.",
    ),
    "rabbitmq_url": click.option(
        "--rabbitmq-url",
        metavar="URL",
        help="RabbitMQ URL: amqp://user:password@host:port/vhost. Prefer the environment "
        "variable RABBITMQ_URL. Without a URL, serve and demo leave events in the outbox.",
    ),
    "jwt_secret_key": click.option(
        "--jwt-secret-key",
        metavar="TEXT",
        help="Secret that tokens are signed with. Prefer the environment variable JWT_SECRET_KEY.",
    ),
}
"""Options by setting. The native module validates the values and reports all errors at once."""


def setting_options(*names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Add the options of the named settings, passed as keyword arguments."""

    def decorate(command: Callable[P, R]) -> Callable[P, R]:
        for name in reversed(names):
            command = OPTIONS[name](command)
        return command

    return decorate


_app_settings: ContextVar[dict[str, str]] = ContextVar("app_settings", default={})  # noqa: B039


@contextmanager
def app_settings(flags: dict[str, str]) -> Iterator[None]:
    """Use these settings of an app as defaults for the options of a command."""
    token = _app_settings.set(flags)
    try:
        yield
    finally:
        _app_settings.reset(token)


def of_app() -> dict[str, str]:
    """Return the settings of the app that the command runs in; empty outside of an app."""
    return _app_settings.get()


def is_in_app() -> bool:
    """Return whether the command runs as `flask order-engine …`."""
    return bool(_app_settings.get())


def merge_options(**options: str | tuple[str, ...] | None) -> dict[str, str]:
    """Return the given options as settings, on top of those of the app, if any."""
    return _app_settings.get() | {
        name: value if isinstance(value, str) else ",".join(value)
        for name, value in options.items()
        if value
    }
