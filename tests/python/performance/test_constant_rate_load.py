"""The constant-rate load generator counts a stall for every request that was due during it."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bench import steady
from bench.errors import BenchError

PER_SECOND = 100
STALL_S = 0.5


@contextmanager
def served(answer: Callable[[int], bytes]) -> Iterator[int]:
    """A server in its own thread that responds to the nth request; its port."""
    count = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        # Each request has a body of two bytes.
        while not reader.at_eof():
            try:
                await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            await reader.readexactly(2)
            count += 1
            body = answer(count)
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
        writer.close()

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(loop.shutdown_asyncgens())
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


@pytest.fixture
def requests(tmp_path: Path) -> Path:
    """One request of a load."""
    path = tmp_path / "requests"
    path.write_text("token\t{}\n")
    return path


def test_requests_due_during_a_stall_have_waited(requests: Path) -> None:
    def answer(number: int) -> bytes:
        if number == PER_SECOND // 2:
            # The server has one thread: nothing else is served meanwhile.
            time.sleep(STALL_S)
        return b"{}"

    with served(answer) as port:
        done = steady.run(port, requests, per_second=PER_SECOND, seconds=2, seed=1)
    assert done.requests == 2 * PER_SECOND
    # A quarter of all were due during the stall; a closed loop would have sent one of them.
    assert done.values["max_ms"] >= STALL_S * 1e3 * 0.9
    assert done.values["p90_ms"] >= STALL_S * 1e3 * 0.4


def test_a_refused_request_is_not_measured(requests: Path) -> None:
    with served(lambda _: b'{"errors":[]}') as port, pytest.raises(BenchError, match="errors"):
        steady.run(port, requests, per_second=PER_SECOND, seconds=1, seed=1)
