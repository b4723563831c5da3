"""An open-loop load: requests at a constant rate, independent of the server.

It runs as a separate process (`python -m bench.steady`). The time at which the nth request is due
is fixed at the start. It is sent then, or as soon as a connection is free, and its latency counts
from the due time. A stall of the server therefore affects all requests that were due during it,
which a closed loop does not show.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import subprocess
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.errors import BenchError
from bench.percentiles import percentile

GRACE_S = 60
# The time for a response after the last request.
LAST_ANSWER_S = 30.0
TICK_S = 0.001
CONNECTIONS = 256
# An idle connection is replaced after this time; the engine closes it after a minute.
QUIET_S = 30.0
HEADERS_END = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
# Texts that a successful response does not contain.
REFUSALS = (b'"errors"', b'"success":false')


@dataclass(frozen=True)
class Steady:
    """The result of a load."""

    requests: int
    values: dict[str, float]
    seconds: list[dict[str, float]]
    """For each second of the load, the `p50_ms` and `p99_ms` of the requests due in it."""


def run(port: int, requests: Path, *, per_second: float, seconds: int, seed: int) -> Steady:
    """Sends `per_second` requests per second for `seconds` seconds, in random order.

    Raises:
        BenchError: a request failed, was refused, or timed out.
    """
    command = [
        *(sys.executable, "-m", "bench.steady", str(port), str(requests)),
        *(f"--per-second={per_second}", f"--seconds={seconds}", f"--seed={seed}"),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds + GRACE_S, check=False
    )
    if done.returncode != 0:
        raise BenchError(f"a load of {per_second:.0f} requests/s failed: {done.stderr.strip()}")
    return Steady(**json.loads(done.stdout))


class Connection(asyncio.Protocol):
    """One connection, idle or waiting for a response."""

    def __init__(self, load: Load) -> None:
        """Reports each response to `load`."""
        self._load = load
        self._received = b""
        self._due = 0.0
        self._used_at = time.perf_counter()
        self._is_left = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Marks the connection as idle."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(transport)
        self._transport = transport
        self._load.free.append(self)

    def is_quiet(self) -> bool:
        """Whether it has been idle for so long that the engine may soon close it."""
        return time.perf_counter() - self._used_at > QUIET_S

    def leave(self) -> None:
        """Closes it."""
        self._is_left = True
        if self._transport is not None:
            self._transport.close()

    def send(self, request: bytes, due: float) -> None:
        """Sends a request that was due at `due`, on the clock of `time.perf_counter`."""
        if self._transport is None:
            raise BenchError("the connection is not open")
        self._due = due
        self._used_at = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Processes the response."""
        self._received += data
        end = self._received.find(HEADERS_END)
        if end < 0:
            return
        length = LENGTH.search(self._received, 0, end)
        size = end + len(HEADERS_END) + (int(length[1]) if length else 0)
        if len(self._received) < size:
            return
        answer, self._received = self._received[:size], self._received[size:]
        self._load.answered(self, self._due, answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the load: the engine does not close connections in use."""
        if not self._is_left:
            self._load.fail(f"a connection was closed: {exc}")


class Load:
    """All connections and due times."""

    def __init__(self, requests: list[bytes], per_second: float, seconds: int, seed: int) -> None:
        """Fixes when each request is due, relative to the start."""
        self.free: deque[Connection] = deque()
        self._requests = requests
        self._choices = random.Random(seed)  # noqa: S311 - not for secrets.
        self._interval_s = 1 / per_second
        self._count = int(per_second * seconds)
        self._sent = 0
        self._observed: list[tuple[float, float]] = []
        self._begin = 0.0
        self._done = asyncio.get_running_loop().create_future()

    async def run(self, port: int) -> list[tuple[float, float]]:
        """Returns for each request its due time and its latency, in seconds."""
        for _ in range(CONNECTIONS):
            await self._open(port)
        self._begin = time.perf_counter()
        while self._sent < self._count and not self._done.done():
            self._send_due()
            # The longest idle connection is at this end.
            if self.free and self.free[0].is_quiet():
                self.free.popleft().leave()
                await self._open(port)
            await asyncio.sleep(TICK_S)
        await asyncio.wait_for(self._done, LAST_ANSWER_S)
        return self._observed

    def answered(self, connection: Connection, due: float, answer: bytes) -> None:
        """Records a response and sends the next due request over the connection."""
        if not answer.startswith(b"HTTP/1.1 200") or any(mark in answer for mark in REFUSALS):
            self.fail(answer.decode(errors="replace"))
            return
        self._observed.append((due - self._begin, time.perf_counter() - due))
        self.free.append(connection)
        self._send_due()
        if len(self._observed) == self._count and not self._done.done():
            self._done.set_result(None)

    def fail(self, why: str) -> None:
        """Ends the load."""
        if not self._done.done():
            self._done.set_exception(BenchError(why))

    async def _open(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: Connection(self), "127.0.0.1", port)

    def _send_due(self) -> None:
        now = time.perf_counter()
        while self.free and self._sent < self._count:
            due = self._begin + self._sent * self._interval_s
            if due > now:
                return
            self._sent += 1
            # The most recently used connection, so that few connections are in use at low rates.
            self.free.pop().send(self._choices.choice(self._requests), due)


def _summary(observed: list[tuple[float, float]], seconds: int) -> Steady:
    taken_ms = [took * 1e3 for _, took in observed]
    values = {"per_second": len(observed) / seconds, "max_ms": max(taken_ms)}
    values |= {
        f"p{percent:g}_ms".replace(".", "_"): percentile(taken_ms, percent)
        for percent in (50, 90, 99, 99.9)
    }
    in_second: list[list[float]] = [[] for _ in range(seconds)]
    for due, took in observed:
        in_second[min(int(due), seconds - 1)].append(took * 1e3)
    each = [
        {"p50_ms": percentile(ms, 50), "p99_ms": percentile(ms, 99)} if ms else {}
        for ms in in_second
    ]
    return Steady(len(observed), values, each)


def _http(line: str) -> bytes:
    token, _, body = line.partition("\t")
    return (
        "POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("requests", type=Path)
    parser.add_argument("--per-second", type=float)
    parser.add_argument("--seconds", type=int)
    parser.add_argument("--seed", type=int)
    given = parser.parse_args()
    requests = [_http(line) for line in given.requests.read_text().splitlines()]

    async def measure() -> list[tuple[float, float]]:
        load = Load(requests, given.per_second, given.seconds, given.seed)
        return await load.run(given.port)

    try:
        summary = _summary(asyncio.run(measure()), given.seconds)
    except (BenchError, OSError, asyncio.TimeoutError) as error:
        sys.exit(f"{error!r}")
    sys.stdout.write(json.dumps(asdict(summary)))


if __name__ == "__main__":
    _main()
