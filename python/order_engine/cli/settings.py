"""The options that are settings: declared once, handed to the native module by name."""

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
        help="A contract to serve, and its port; may be repeated. Default: flask.",
    ),
    "host": click.option(
        "--host", metavar="ADDRESS", help="The address to listen at. Default: 127.0.0.1."
    ),
    "port": click.option(
        "--port",
        metavar="PORT",
        help="The port of the first contract; 0 takes a free one. Default: 5000 for flask.",
    ),
    "metrics_port": click.option(
        "--metrics-port",
        metavar="PORT",
        help="A port for /metrics alone; 0 takes a free one. Default: 9202 for gateway, else none.",
    ),
    "access": click.option(
        "--access",
        metavar="owner|roles|any-valid-token",
        help="What a valid token allows: its owner's orders; the same without changing a status; "
        "everything.",
    ),
    "database_url": click.option(
        "--database-url",
        metavar="URL",
        help="PostgreSQL: postgresql://user:password@host:port/database. A password is safer in "
        "the environment, as DATABASE_URL.",
    ),
    "rabbitmq_url": click.option(
        "--rabbitmq-url",
        metavar="URL",
        help="RabbitMQ: amqp://user:password@host:port/vhost [RABBITMQ_URL]. Without it events "
        "wait in the database.",
    ),
    "jwt_secret_key": click.option(
        "--jwt-secret-key",
        metavar="TEXT",
        help="The secret tokens are signed with. Safer in the environment, as JWT_SECRET_KEY.",
    ),
}
"""By the setting's name. Values are judged where all settings are, so that all are told at once."""


def setting_options(*names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Give a command the options of some settings; it gets them as keyword arguments."""

    def decorate(command: Callable[P, R]) -> Callable[P, R]:
        for name in reversed(names):
            command = OPTIONS[name](command)
        return command

    return decorate


_of_app: ContextVar[dict[str, str]] = ContextVar("settings of the app", default={})  # noqa: B039


@contextmanager
def app_settings(flags: dict[str, str]) -> Iterator[None]:
    """Run commands with these settings of an app below what is typed."""
    token = _of_app.set(flags)
    try:
        yield
    finally:
        _of_app.reset(token)


def given(**options: str | tuple[str, ...] | None) -> dict[str, str]:
    """Keep the options that were typed, as the native module takes them."""
    return _of_app.get() | {
        name: value if isinstance(value, str) else ",".join(value)
        for name, value in options.items()
        if value
    }
