"""The command `python -m tests.services`: `run -- COMMAND…` and `install`."""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import FrameType

from tests.services.errors import MissingServiceError, ServiceError
from tests.services.install import install
from tests.services.kafka import Kafka
from tests.services.postgresql import PostgreSQL
from tests.services.rabbitmq import RabbitMQ
from tests.services.redis import Redis
from tests.services.service import Service
from tests.services.workspace import Workspace

CHILD_TIMEOUT_S = 30.0
# The variable with each server's URL.
SERVERS: dict[str, type[Service]] = {
    "ORDER_ENGINE_TEST_DATABASE_URL": PostgreSQL,
    "ORDER_ENGINE_TEST_RABBITMQ_URL": RabbitMQ,
    "ORDER_ENGINE_TEST_KAFKA_BROKERS": Kafka,
    "ORDER_ENGINE_TEST_REDIS_URL": Redis,
}


def main() -> int:
    """Parses the command line and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.services", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    install_parser = verbs.add_parser("install", help="install the packages that are missing")
    install_parser.add_argument(
        "programs", nargs="*", metavar="PROGRAM", help="another program that is needed"
    )
    run_parser = verbs.add_parser("run", help="run a command with private servers")
    run_parser.add_argument("command", nargs="+", metavar="COMMAND")
    arguments = parser.parse_args()
    if arguments.verb == "install":
        return install(arguments.programs)
    try:
        return run(arguments.command)
    except ServiceError as error:
        sys.stderr.write(f"services: {error}\n")
        return 1


def run(command: Sequence[str]) -> int:
    """Runs a command with the URLs of private servers in its environment.

    A server that is not installed is reported and has no URL. The tests that need it are skipped,
    or fail if CI is set.

    Returns:
        The command's exit code, or 128 plus the number of the signal that ended it.

    Raises:
        ServiceError: a server did not start.
    """
    signal.signal(signal.SIGTERM, _leave)
    with Workspace() as workspace, ThreadPoolExecutor(len(SERVERS)) as pool:
        started = pool.map(lambda server: _start(server, workspace), SERVERS.values())
        urls = {
            variable: server.url
            for variable, server in zip(SERVERS, started, strict=True)
            if server is not None
        }
        return _run_child(workspace, command, dict(os.environ) | urls)


def _start(kind: type[Service], workspace: Workspace) -> Service | None:
    try:
        server = kind(workspace)
    except MissingServiceError as error:
        sys.stderr.write(f"services: no {kind.name}: {error}\n")
        return None
    server.start()
    sys.stderr.write(f"services: {server.name} on 127.0.0.1:{server.port}\n")
    return server


def _run_child(workspace: Workspace, command: Sequence[str], env: dict[str, str]) -> int:
    try:
        child = subprocess.Popen(command, env=env)
    except OSError as error:
        sys.stderr.write(f"services: cannot run {command[0]}: {error.strerror}\n")
        return 127
    workspace.watch(child, signal.SIGTERM)
    # Ctrl-C reaches the command itself; the servers must run until it has ended.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        code = child.wait()
    finally:
        _end(child)
    return code if code >= 0 else 128 - code


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(CHILD_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
