"""Runs the programs of tests/node: producers and consumers as Node services use them."""

import json
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tests.python.support.missing_tools import skip_or_fail
from tests.python.support.recorder_process import RecorderProcess
from tests.python.support.waiting import eventually
from tests.services import Workspace

NODE_FOLDER = Path(__file__).parents[2] / "node"
PROGRAM_TIMEOUT_S = 60.0

BullMqMajor = Literal["5", "6"]


class BullMqWorker(RecorderProcess):
    """A BullMQ worker for each of some queues, whose records are the attempts.

    A record is `{"queue", "name", "id", "data", "attemptsMade", "opts", "failed"}`.
    """

    def __init__(
        self,
        workspace: Workspace,
        folder: Path,
        redis_url: str,
        *queues: str,
        major: BullMqMajor = "6",
        fail_first: bool = False,
    ) -> None:
        """Starts nothing yet; with `fail_first` the first attempt of every job fails."""
        node = find_node("bullmq", "bullmq5", "ioredis")
        arguments = [f"--major={major}", *(["--fail-first"] if fail_first else [])]
        record = folder / f"bullmq{major}-{'-'.join(queues)}.jsonl"
        program = str(NODE_FOLDER / "bullmq_worker.mjs")
        super().__init__(workspace, record, node, program, *arguments, redis_url, *queues)


class KafkaJsConsumer(RecorderProcess):
    """A kafkajs consumer of some topics, from their beginning, whose records are the messages.

    A record is `{"topic", "partition", "offset", "key", "value", "headers"}`, with the value as
    text. Started, it has its partitions.
    """

    def __init__(
        self, workspace: Workspace, folder: Path, brokers: str, group: str, *topics: str
    ) -> None:
        """Starts nothing yet."""
        node = find_node("kafkajs")
        record = folder / f"kafkajs-{group}-{'-'.join(topics)}.jsonl"
        program = str(NODE_FOLDER / "kafka_consumer.mjs")
        super().__init__(workspace, record, node, program, brokers, group, *topics)

    def messages(self) -> list[dict[str, Any]]:
        """The records, each place once: kafkajs reads some again when its group is rearranged."""
        seen = {(each["topic"], each["partition"], each["offset"]): each for each in self.records()}
        return list(seen.values())

    def wait_for_messages(self, count: int, timeout_s: float = 20.0) -> list[dict[str, Any]]:
        """As `wait_for_records`, each place once."""
        what = f"{count} messages are read"
        eventually(lambda: len(self.messages()) >= count, what, timeout_s)
        return self.messages()


class NodeService(RecorderProcess):
    """A service of tests/node that stands in for a neighbour; its port is free to choose."""

    def __init__(self, workspace: Workspace, folder: Path, program: str, *arguments: str) -> None:
        """Starts nothing yet. `program` is the name of the file, without its ending."""
        node = find_node("axios", "express", "ioredis", "kafkajs")
        record = folder / f"{program}.jsonl"
        super().__init__(workspace, record, node, str(NODE_FOLDER / f"{program}.mjs"), *arguments)

    @property
    def url(self) -> str:
        """Where its HTTP API is."""
        return f"http://127.0.0.1:{self.ready_record()['port']}"


def add_jobs(
    redis_url: str, jobs: Iterable[Mapping[str, object]], *, major: BullMqMajor = "6"
) -> list[str]:
    """Adds jobs, `{"queue", "name", "data", "opts"}`, with Node's BullMQ; returns their ids."""
    lines = [json.dumps(job) for job in jobs]
    added = _run("bullmq_producer.mjs", [f"--major={major}", redis_url], lines)
    return [each["id"] for each in added]


def set_paused(redis_url: str, queue: str, *, paused: bool, major: BullMqMajor = "6") -> None:
    """Pauses or resumes a queue for all its workers, with Node's BullMQ."""
    _run("bullmq_pause.mjs", [f"--major={major}", redis_url, queue, str(paused).lower()], [])


def send_messages(brokers: str, messages: Iterable[Mapping[str, object]]) -> list[dict[str, Any]]:
    """Sends messages, `{"topic", "key", "value", "headers"}`, with kafkajs, one after the other.

    Returns:
        Where each is, `{"topic", "partition", "offset"}`.
    """
    return _run("kafka_producer.mjs", [brokers], [json.dumps(message) for message in messages])


def kafkajs_partitions(keys: Sequence[str], partitions: int) -> list[int]:
    """Returns the partition that kafkajs's default partitioner gives each key to."""
    return _run("kafka_partitions.mjs", [str(partitions)], keys)


def find_node(*packages: str) -> str:
    """Returns the path of `node`; skips the test, or fails it in CI, without node or a package."""
    node = shutil.which("node")
    if node is None:
        skip_or_fail("Node.js is not installed")
    for package in packages:
        if not (NODE_FOLDER / "node_modules" / package).is_dir():
            skip_or_fail(f"{package} is not installed: run `npm ci` in tests/node")
    return node


def _run(program: str, arguments: Sequence[str], lines: Iterable[str]) -> list[Any]:
    """Runs a program on lines; returns what it has written, one JSON value a line."""
    node = find_node("bullmq", "bullmq5", "kafkajs")
    done = subprocess.run(
        [node, NODE_FOLDER / program, *arguments],
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        timeout=PROGRAM_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
