"""How an error of the engine looks in a terminal: a message and an exit code, no traceback."""

from __future__ import annotations

from typing import IO, Any, ClassVar

import click

from order_engine.exceptions import Misconfigured, OrderEngineError


class Failure(click.ClickException):
    """An error of the engine on its way to the terminal."""

    exit_code: ClassVar[int] = 1

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems

    def show(self, file: IO[Any] | None = None) -> None:
        """Write every problem on a line of its own to standard error."""
        for problem in self.problems:
            click.echo(f"Error: {problem}", file=file, err=True)


class ConfigurationFailure(Failure):
    """Settings are wrong: like wrong usage, the person who typed can mend it."""

    exit_code: ClassVar[int] = click.UsageError.exit_code


class ReadableErrors(click.Group):
    """A group of commands whose engine errors are shown, not thrown."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command that was typed."""
        try:
            return super().invoke(ctx)
        except Misconfigured as error:
            raise ConfigurationFailure(error.problems) from error
        except OrderEngineError as error:
            raise Failure([error.message]) from error
