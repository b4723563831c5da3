"""The copies of the contracts' descriptions under docs/api; running the module renews them."""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from order_engine import _native
from tests.python.support.http_process import INHERITED

FOLDER = Path(__file__).parents[3] / "docs" / "api"
RENEW = "make build && .venv/bin/python -m tests.python.support.api_descriptions"
COMMAND_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Description:
    """A description of a contract."""

    contract: str
    language: str
    """The name in the native module."""
    command: str
    """The command that prints it."""
    ending: str

    @property
    def file(self) -> Path:
        """The path of its copy."""
        return FOLDER / f"{self.contract}.{self.ending}"

    def __str__(self) -> str:
        """The name of its file."""
        return self.file.name

    def printed(self) -> str:
        """Runs the command with default settings and returns its output.

        Raises:
            subprocess.CalledProcessError: The command failed.
        """
        with tempfile.TemporaryDirectory() as empty:
            return subprocess.run(
                [
                    *(sys.executable, "-m", "order_engine"),
                    *(self.command, "--contract", self.contract),
                ],
                cwd=empty,
                env={name: os.environ[name] for name in INHERITED if name in os.environ},
                capture_output=True,
                text=True,
                timeout=COMMAND_TIMEOUT_S,
                check=True,
            ).stdout


def _in(language: str, command: str, ending: str) -> list[Description]:
    contracts = _native.described_contracts(language)
    return [Description(contract, language, command, ending) for contract in contracts]


OPENAPI = _in("openapi", "openapi", "openapi.json")
GRAPHQL = _in("graphql", "schema", "graphql")
ASYNCAPI = _in("asyncapi", "asyncapi", "asyncapi.json")
ALL = [*OPENAPI, *GRAPHQL, *ASYNCAPI]


def main() -> None:
    """Writes all copies."""
    FOLDER.mkdir(exist_ok=True)
    for description in ALL:
        description.file.write_text(description.printed())


if __name__ == "__main__":
    main()
