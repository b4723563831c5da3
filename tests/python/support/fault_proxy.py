"""A TCP proxy between a server and one of its dependencies that can inject network faults.

All proxies of a process share one thread, so that hundreds of connections need no more threads.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")

CHUNK_BYTES = 65_536
ANSWER_TIMEOUT_S = 10.0
# With this linger option, closing a socket sends a reset.
RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Traffic:
    """How a proxy forwards bytes."""

    delay_s: float = 0.0
    """The delay of each chunk."""
    slice_bytes: int = CHUNK_BYTES
    """The size of the largest chunk."""
    bytes_per_s: float | None = None
    limit_bytes: int | None = None
    """A connection is reset after this many bytes, in the middle of a message."""


class _Connection:
    """Two sockets between which a proxy forwards, in a task of its own."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.near, self.far = near, far
        self.task = asyncio.current_task()
        self.forwarded_bytes = 0
        # Whether all further data is discarded silently.
        self.is_half_open = False
        # Whether the next data from the far end is dropped.
        self.is_reply_lost = False

    def hang_up(self, *, reset: bool = False) -> None:
        if reset:
            for end in (self.near, self.far):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        if self.task is not None:
            self.task.cancel()

    def close(self) -> None:
        self.near.close()
        self.far.close()


class FaultProxy:
    """Forwards from a port of its own to another port on this machine."""

    def __init__(self, target_port: int, port: int = 0) -> None:
        """Listens, on `port` if it is given, and forwards at once."""
        self._target_port = target_port
        self._traffic = Traffic()
        self._is_cut = False
        self._is_half_open = False
        self._loses: tuple[bytes, bool] | None = None
        self._then: Callable[[], None] | None = None
        self.lost_requests = 0
        self._open: set[_Connection] = set()
        self.lost_replies = 0
        self.taken_bytes = 0
        """Bytes received from clients so far, whether forwarded or not."""
        self._loop = _loop()
        self._listener = socket.create_server(("127.0.0.1", port))
        self._listener.settimeout(0)
        self.port: int = self._listener.getsockname()[1]
        self._tasks = [self._run(self._listen())]

    def __enter__(self) -> "FaultProxy":
        """Is open already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends it for good."""

        async def end() -> None:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._listener.close()

        self._run(end())

    def lead_to(self, target_port: int) -> None:
        """Forwards new connections to another port."""
        self._target_port = target_port

    def cut(self) -> None:
        """Closes all connections, and every new one."""
        self._is_cut = True
        self._soon(self._hang_up)

    def reset(self) -> None:
        """Resets every connection that there is; new ones are forwarded as before."""
        self._soon(self._hang_up, True)  # noqa: FBT003 - call_soon takes no keywords.

    def freeze(self) -> None:
        """Takes everything and passes nothing on."""
        self._soon(self._flowing.clear)

    def half_open(self) -> None:
        """Discards all data, permanently for the connections of that time.

        They stay open and silent after `mend`, as if a firewall had dropped them.
        """

        def swallow() -> None:
            self._is_half_open = True
            for connection in self._open:
                connection.is_half_open = True

        self._soon(swallow)

    def shape(self, traffic: Traffic) -> None:
        """Forwards, but so."""
        self._traffic = traffic

    def mend(self) -> None:
        """Forwards again as at first; what was taken while it was frozen arrives now."""

        def flow() -> None:
            self._is_cut = False
            self._is_half_open = False
            self._traffic = Traffic()
            self._flowing.set()

        self._soon(flow)

    def lose_reply_to(self, request: bytes, then: Callable[[], None] | None = None) -> None:
        """Passes the next chunk that holds `request` on, and loses what is answered to it.

        As soon as there is an answer, the connection it would have come by is reset, and `then`
        called, in the thread of the links. `lost_replies` counts.
        """
        self._loses, self._then = (request, False), then

    def lose_request(self, request: bytes, then: Callable[[], None] | None = None) -> None:
        """As `lose_reply_to`, but `request` itself does not arrive. `lost_requests` counts."""
        self._loses, self._then = (request, True), then

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(ANSWER_TIMEOUT_S)

    def _soon(self, work: Callable[..., object], *arguments: object) -> None:
        """Does something in the thread of the links, and returns when it is done."""

        async def run() -> None:
            work(*arguments)

        # What is done when a reply is lost is done in that thread already.
        if threading.current_thread() is _THREADS.get("links"):
            work(*arguments)
        else:
            self._run(run())

    async def _listen(self) -> asyncio.Task[None]:
        self._flowing = asyncio.Event()
        self._flowing.set()
        return asyncio.create_task(self._accept())

    def _hang_up(self, reset: bool = False) -> None:  # noqa: FBT001, FBT002 - see `reset`.
        for connection in self._open:
            connection.hang_up(reset=reset)

    async def _accept(self) -> None:
        while True:
            near, _ = await self._loop.sock_accept(self._listener)
            self._tasks = [task for task in self._tasks if not task.done()]
            self._tasks.append(asyncio.create_task(self._forward(near)))

    async def _forward(self, near: socket.socket) -> None:
        far = socket.socket()
        far.settimeout(0)
        connection = _Connection(near, far)
        connection.is_half_open = self._is_half_open
        self._open.add(connection)
        try:
            if not self._is_cut:
                await self._loop.sock_connect(far, ("127.0.0.1", self._target_port))
                await asyncio.gather(
                    self._pump(connection, near, far, is_request=True),
                    self._pump(connection, far, near, is_request=False),
                )
        except OSError:
            # The target refuses connections or has closed this one: close the client's too.
            pass
        finally:
            self._open.discard(connection)
            connection.close()

    async def _pump(
        self,
        connection: _Connection,
        source: socket.socket,
        sink: socket.socket,
        *,
        is_request: bool,
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await self._loop.sock_recv(source, CHUNK_BYTES):
                self.taken_bytes += len(chunk) if is_request else 0
                if self._is_lost(connection, chunk, is_request=is_request):
                    connection.hang_up(reset=True)
                    then, self._then = self._then, None
                    if then is not None:
                        then()
                    return
                # Every byte is forwarded once, however the traffic changes meanwhile.
                size = self._traffic.slice_bytes
                for start in range(0, len(chunk), size):
                    piece = chunk[start : start + size]
                    await self._pass_on(connection, piece, sink)
        if not connection.is_half_open:
            connection.hang_up()

    async def _pass_on(self, connection: _Connection, piece: bytes, sink: socket.socket) -> None:
        """Passes a piece on as the traffic is now."""
        traffic = self._traffic
        pause_s = traffic.delay_s
        if traffic.bytes_per_s is not None:
            pause_s += len(piece) / traffic.bytes_per_s
        if pause_s:
            await asyncio.sleep(pause_s)
        await self._flowing.wait()
        if connection.is_half_open:
            return
        connection.forwarded_bytes += len(piece)
        if traffic.limit_bytes is not None and connection.forwarded_bytes > traffic.limit_bytes:
            connection.hang_up(reset=True)
            return
        await self._loop.sock_sendall(sink, piece)

    def _is_lost(self, connection: _Connection, chunk: bytes, *, is_request: bool) -> bool:
        """Whether this is what a test wants to be lost."""
        if not is_request:
            self.lost_replies += connection.is_reply_lost
            return connection.is_reply_lost
        if self._loses is None or self._loses[0] not in chunk:
            return False
        (_, is_lost), self._loses = self._loses, None
        self.lost_requests += is_lost
        connection.is_reply_lost = not is_lost
        return is_lost


_THREADS: dict[str, threading.Thread] = {}
_LOOPS: list[asyncio.AbstractEventLoop] = []


def _loop() -> asyncio.AbstractEventLoop:
    """The loop of the links' thread, which is started with the first link."""
    if not _LOOPS:
        loop = asyncio.new_event_loop()
        _LOOPS.append(loop)
        _THREADS["links"] = threading.Thread(target=loop.run_forever, name="links", daemon=True)
        _THREADS["links"].start()
    return _LOOPS[0]
