"""Prints errors of the engine as a message with an exit status, without a traceback."""

from __future__ import annotations

from typing import IO, Any, ClassVar

import click

from order_engine.cli import log_lines
from order_engine.exceptions import Misconfigured, OrderEngineError


class Failure(click.ClickException):
    """An error of the engine, as click reports it."""

    exit_code: ClassVar[int] = 1

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems

    def show(self, file: IO[Any] | None = None) -> None:
        """Write each problem to standard error, one per line."""
        for problem in self.problems:
            if file is None:
                log_lines.write(problem, level="ERROR", plain=f"Error: {problem}")
            else:
                click.echo(f"Error: {problem}", file=file)


class ConfigurationFailure(Failure):
    """Settings are missing or wrong; the exit status is that of a usage error."""

    exit_code: ClassVar[int] = click.UsageError.exit_code


class ReadableErrors(click.Group):
    """A command group that turns engine errors into click errors."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the subcommand."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            if not log_lines.is_json():
                raise
            raise ConfigurationFailure([error.format_message()]) from error
        except Misconfigured as error:
            raise ConfigurationFailure(error.problems) from error
        except OrderEngineError as error:
            raise Failure([error.message]) from error
