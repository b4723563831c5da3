"""Writes messages of a command to standard error, in the format of the engine's log.

A log collector that reads JSON cannot read single plain lines between them.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone

import click

from order_engine import configuration
from order_engine.cli import settings

TARGET = "order_engine.cli"


def is_json() -> bool:
    """Return whether the setting `log_format` is json."""
    log_format = configuration.value(settings.of_app(), "log_format")
    return log_format is not None and log_format.lower() == "json"


def write(text: str, *, level: str = "INFO", plain: str | None = None) -> None:
    """Write a message: as one JSON object, or as text.

    Args:
        text: The message.
        level: Its level, in JSON only.
        plain: What to write instead of `text` when the log is not JSON.
    """
    if not is_json():
        click.echo(text if plain is None else plain, err=True)
        return
    now = datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")
    line = {"timestamp": now, "level": level, "message": text, "target": TARGET}
    click.echo(json.dumps(line), err=True)
