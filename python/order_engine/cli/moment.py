"""Option type for points in time: `2026-03-01T12:00`, or `2h` for two hours ago."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import click

from order_engine.cli.duration import PATTERN, Duration

if TYPE_CHECKING:
    from click import Context, Parameter

# datetime.fromisoformat does not accept `Z` before Python 3.11.
ZULU = re.compile("[zZ]$")


class Moment(click.ParamType[datetime]):
    """An ISO 8601 time (local without an offset) or a duration before now, converted to UTC."""

    name = "moment"

    def convert(self, value: object, param: Parameter | None, ctx: Context | None) -> datetime:
        """Convert `2026-03-01`, `2026-03-01T12:00Z` or `90m`."""
        text = str(value)
        try:
            if PATTERN.fullmatch(text):
                ago = timedelta(seconds=Duration().convert(text, param, ctx))
                return datetime.now(timezone.utc) - ago
            return datetime.fromisoformat(ZULU.sub("+00:00", text)).astimezone(timezone.utc)
        except (ValueError, OverflowError):
            self.fail(
                f"{text!r} is not a time; write 2026-03-01T12:00 or, for a duration before now, 2h",
                param,
                ctx,
            )
