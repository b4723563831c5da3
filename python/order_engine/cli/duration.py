"""A length of time as people type it: `90m`, `12h`, `7d`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click import Context, Parameter

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
PATTERN = re.compile(r"([0-9]{1,9})([smhd])")


class Duration(click.ParamType[int]):
    """Whole seconds, minutes, hours or days; becomes seconds."""

    name = "duration"

    def convert(self, value: object, param: Parameter | None, ctx: Context | None) -> int:
        """Read `90m` as 5400; pass a number of seconds, which only a default is, on."""
        if isinstance(value, int):
            return value
        matched = PATTERN.fullmatch(str(value))
        if matched is None:
            self.fail(
                f"{value!r} is not a length of time; write a number and s, m, h or d, like 90m",
                param,
                ctx,
            )
        return int(matched[1]) * SECONDS[matched[2]]
