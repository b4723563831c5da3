"""A moment as people type it: `2026-03-01T12:00`, or `2h` for two hours ago."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import click

from order_engine.cli.duration import PATTERN, Duration

if TYPE_CHECKING:
    from click import Context, Parameter

# Python 3.10 reads no `Z`.
ZULU = re.compile("[zZ]$")


class Moment(click.ParamType[datetime]):
    """A time in ISO 8601, local unless it names a zone, or how long ago; becomes one in UTC."""

    name = "moment"

    def convert(self, value: object, param: Parameter | None, ctx: Context | None) -> datetime:
        """Read `2026-03-01`, `2026-03-01T12:00Z` or `90m`."""
        text = str(value)
        try:
            if PATTERN.fullmatch(text):
                ago = timedelta(seconds=Duration().convert(text, param, ctx))
                return datetime.now(timezone.utc) - ago
            return datetime.fromisoformat(ZULU.sub("+00:00", text)).astimezone(timezone.utc)
        except (ValueError, OverflowError):
            self.fail(
                f"{text!r} is no time; write it like 2026-03-01T12:00, or how long ago, like 2h",
                param,
                ctx,
            )
