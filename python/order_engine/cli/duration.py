"""Option type for durations such as `90m`, `12h` or `7d`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click import Context, Parameter

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
PATTERN = re.compile(r"([0-9]{1,9})([smhd])")


class Duration(click.ParamType[int]):
    """A whole number of seconds, minutes, hours or days, converted to seconds."""

    name = "duration"

    def convert(self, value: object, param: Parameter | None, ctx: Context | None) -> int:
        """Convert `90m` to 5400; return a default that is already in seconds."""
        if isinstance(value, int):
            return value
        matched = PATTERN.fullmatch(str(value))
        if matched is None:
            self.fail(
                f"{value!r} is not a duration; write a number and s, m, h or d, such as 90m",
                param,
                ctx,
            )
        return int(matched[1]) * SECONDS[matched[2]]
