"""A process that records what it receives: `{"ready": true}` first, then one JSON object per line.

Its log is its standard output and error; lines that do not begin with `{` are not records.
"""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.python.support.waiting import eventually
from tests.services import Workspace

if TYPE_CHECKING:
    import subprocess

REPOSITORY = Path(__file__).parents[3]
STOP_TIMEOUT_S = 20.0


class RecorderProcess:
    """The process, and what it has received over all its starts."""

    def __init__(self, workspace: Workspace, record: Path, *command: str) -> None:
        """Starts nothing yet.

        Args:
            workspace: Who ends the process if the tests are killed.
            record: The file that holds what it writes.
            command: What starts it.
        """
        self._workspace = workspace
        self._record = record
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0

    def start(self) -> None:
        """Starts it; returns once it is ready."""
        self._starts += 1
        self._process = self._workspace.spawn(
            self._command,
            log=self._record,
            env=dict(os.environ) | {"PYTHONPATH": str(REPOSITORY)},
        )
        eventually(self._is_ready, f"{self._record.stem} is ready")

    def stop(self) -> None:
        """Ends it with SIGTERM, so that it can finish what it has in hand."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(STOP_TIMEOUT_S)
            self._process = None

    def kill(self) -> None:
        """Ends it with SIGKILL; what was on its way to it is lost, as in the field."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def records(self) -> list[dict[str, Any]]:
        """Everything received so far, in the order of arrival."""
        return [each for each in self._lines() if "ready" not in each]

    def ready_record(self) -> dict[str, Any]:
        """What it has written last when it was ready."""
        return [each for each in self._lines() if "ready" in each][-1]

    def wait_for_records(self, count: int, timeout_s: float = 20.0) -> list[dict[str, Any]]:
        """Waits until at least `count` have been received, and returns all of them.

        Raises:
            AssertionError: it were fewer after `timeout_s` seconds.
        """
        what = f"{self._record.stem} has received {count}"
        eventually(lambda: len(self.records()) >= count, what, timeout_s)
        return self.records()

    def _is_ready(self) -> bool:
        assert self._process is not None
        ended = self._process.poll()
        assert ended is None, f"the process ended with {ended}:\n{self._record.read_text()}"
        return sum("ready" in each for each in self._lines()) == self._starts

    def _lines(self) -> list[dict[str, Any]]:
        if not self._record.exists():
            return []
        # The last line may be half written; a traceback is not a record.
        lines = self._record.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line[-1] == "\n"]
