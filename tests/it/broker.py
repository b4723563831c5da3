"""A private server for a Rust test: writes its URL, then `done` for every command that it reads.

`python3 -m tests.it.broker [kafka|redis|rabbitmq]`; the default is RabbitMQ.
"""

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.services import Kafka, RabbitMQ, Redis, Service, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

# Far below a real broker's limit, so that a test need not send a hundred megabytes.
MESSAGE_BYTES_MAX = 65_536
# The broker does the same when it runs out of memory, and when memory is free again.
RAISE_ALARM = "rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []}).\n"
CLEAR_ALARM = "rabbit_alarm:clear_alarm({resource_limit, memory, node()}).\n"


def main(name: str = "rabbitmq") -> None:
    """Starts the server and executes commands until the end of standard input."""
    kinds: dict[str, type[Service]] = {"kafka": Kafka, "rabbitmq": RabbitMQ, "redis": Redis}
    with Workspace() as workspace:
        broker = kinds[name](workspace)
        verbs: dict[str, Callable[[], None]] = {
            "start": broker.start,
            "stop": broker.stop,
            "kill": broker.kill,
            "raise alarm": lambda: evaluate(broker, RAISE_ALARM),
            "clear alarm": lambda: evaluate(broker, CLEAR_ALARM),
        }
        if name == "rabbitmq":
            limits = broker.folder / "conf.d" / "limits.conf"
            limits.write_text(f"max_message_size = {MESSAGE_BYTES_MAX}\n")
        broker.start()
        say(broker.url)
        for line in sys.stdin:
            verbs[line.strip()]()
            say("done")


def say(line: str) -> None:
    """Answers the test, which waits for it."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def evaluate(broker: Service, expression: str) -> None:
    """Has a RabbitMQ's node evaluate an Erlang expression."""
    environment = broker.environment()
    subprocess.run(
        [shutil.which("erl_call") or "erl_call", "-n", environment["RABBITMQ_NODENAME"], "-e"],
        input=expression,
        env=environment,
        text=True,
        check=True,
        capture_output=True,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
