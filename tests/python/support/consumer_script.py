"""A consumer script that runs as a separate process, so that a test can stop and kill it.

`python -m tests.python.support.consumer_script URL DATABASE_URL [die-before-ack]` writes one JSON
object per line: `{"began": n}` when the handler starts on the event `{"n": n}`, and `{"done": n}`
when it returns. If the event has `until`, the handler waits until that file exists. With a database
it inserts n into the table `effects`, in the inbox transaction.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from order_engine.consumer import Consumer, Event
from order_engine.consumer.channels import _BlockingChannel
from tests.python.support.legacy_consumer import QUEUE
from tests.python.support.waiting import eventually
from tests.services import Workspace

if TYPE_CHECKING:
    import subprocess

REPOSITORY = Path(__file__).parents[3]


class ConsumerScript:
    """The script's process, and its records over all its starts."""

    def __init__(self, workspace: Workspace, folder: Path, url: str, database: str = "") -> None:
        """Nothing is started yet."""
        self._workspace = workspace
        self._record = folder / "script.jsonl"
        self._command = [
            sys.executable,
            "-m",
            "tests.python.support.consumer_script",
            url,
            database,
        ]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> None:
        """Starts it and returns immediately."""
        env = dict(os.environ) | {"PYTHONPATH": str(REPOSITORY)}
        self.process = self._workspace.spawn(
            [*self._command, *arguments], log=self._record, env=env
        )

    def wait_for(self, **reported: int) -> None:
        """Waits until it has written `began=n` or `done=n`."""
        eventually(lambda: reported in self.reported(), f"the script writes {reported}")

    def reported(self) -> list[dict[str, int]]:
        """All records so far, without the lines of the log."""
        lines = self.log().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line[-1] == "\n"]

    def log(self) -> str:
        """All that was written."""
        return self._record.read_text() if self._record.exists() else ""

    def end(self, number: signal.Signals) -> int:
        """Sends a signal and waits for the end; gives the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(20)


def log(**reported: int) -> None:
    """Writes one line."""
    sys.stdout.write(json.dumps(reported) + "\n")
    sys.stdout.flush()


def main(url: str, database: str, *rest: str) -> None:
    """Consumes until a signal."""

    def handle(event: Event, connection: Any = None) -> None:  # noqa: ANN401 - of any library.
        log(began=event["n"])
        if "until" in event:
            eventually(Path(event["until"]).exists, "the file is there", 60)
        if connection is not None:
            connection.execute("insert into effects values (%s)", (event["n"],))
        log(done=event["n"])

    def handle_with_connection(event: Event, connection: Any) -> None:  # noqa: ANN401 - as above.
        handle(event, connection)

    if "die-before-ack" in rest:

        async def die(*_: object) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        _BlockingChannel.acknowledge = die  # type: ignore[method-assign, assignment]
    if database:
        consumer = Consumer(
            queue=QUEUE, rabbitmq_url=url, connection=lambda: psycopg.connect(database)
        )
        consumer.on("order.placed")(handle_with_connection)
    else:
        consumer = Consumer(queue=QUEUE, rabbitmq_url=url)
        consumer.on("order.placed")(handle)
    consumer.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
