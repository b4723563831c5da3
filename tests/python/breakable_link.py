"""A TCP connection between a server and what it uses, which a test cuts, slows, breaks and mends.

All links of a process share one thread, so that hundreds of connections cost no threads.
"""

import asyncio
import contextlib
import itertools
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
# Closed so, a socket sends a reset instead of a farewell.
RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Traffic:
    """How bytes travel while a link forwards."""

    delay_s: float = 0.0
    """What each piece waits."""
    slice_bytes: int = CHUNK_BYTES
    """The size of the largest piece."""
    bytes_per_s: float | None = None
    limit_bytes: int | None = None
    """After so many a connection is hung up, in the middle of what was being said."""


class _Connection:
    """Two sockets between which a link forwards."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.ends = (near, far)
        self.forwarded_bytes = 0
        # Whether all that comes is swallowed, for ever, and nobody is told.
        self.is_half_open = False
        # Whether the next thing that the far end says is not passed on.
        self.is_reply_lost = False

    def hang_up(self, *, reset: bool = False) -> None:
        for end in self.ends:
            if reset:
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                end.transport.abort()
            end.close()


class BreakableLink:
    """Forwards from a port of its own to another one on this machine."""

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
        self._loop = _loop()
        listener = socket.create_server(("127.0.0.1", port))
        self.port: int = listener.getsockname()[1]
        self._server = self._run(self._listen(listener))

    def __enter__(self) -> "BreakableLink":
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
            self._server.close()
            self._hang_up()

        self._run(end())

    def cut(self) -> None:
        """Hangs up, and goes on doing so with whoever connects."""
        self._is_cut = True
        self._soon(self._hang_up)

    def reset(self) -> None:
        """Resets every connection that there is; new ones are forwarded as before."""
        self._soon(self._hang_up, True)  # noqa: FBT003 - call_soon takes no keywords.

    def freeze(self) -> None:
        """Takes everything and passes nothing on."""
        self._soon(self._flowing.clear)

    def half_open(self) -> None:
        """Takes everything and passes nothing on, then or ever.

        Connections of that time stay as they are, and mute, when the link is mended: as after a
        firewall forgot them, neither end hears that it talks to nobody.
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

    async def _listen(self, listener: socket.socket) -> asyncio.Server:
        self._flowing = asyncio.Event()
        self._flowing.set()
        return await asyncio.start_server(self._forward, sock=listener)

    def _hang_up(self, reset: bool = False) -> None:  # noqa: FBT001, FBT002 - see `reset`.
        for connection in self._open:
            connection.hang_up(reset=reset)

    async def _forward(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        far_reader, far = None, None
        with contextlib.suppress(OSError):
            if not self._is_cut:
                far_reader, far = await asyncio.open_connection("127.0.0.1", self._target_port)
        if far_reader is None or far is None:
            near.close()
            return
        connection = _Connection(near, far)
        connection.is_half_open = self._is_half_open
        self._open.add(connection)
        try:
            await asyncio.gather(
                self._pump(connection, reader, far, is_request=True),
                self._pump(connection, far_reader, near, is_request=False),
            )
        finally:
            self._open.discard(connection)

    async def _pump(
        self,
        connection: _Connection,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        *,
        is_request: bool,
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(CHUNK_BYTES):
                if self._is_lost(connection, chunk, is_request=is_request):
                    connection.hang_up(reset=True)
                    then, self._then = self._then, None
                    if then is not None:
                        then()
                    return
                for start in itertools.count(step=self._traffic.slice_bytes):
                    piece = chunk[start : start + self._traffic.slice_bytes]
                    if not piece or not await self._pass_on(connection, piece, sink):
                        break
        if not connection.is_half_open:
            connection.hang_up()

    async def _pass_on(
        self, connection: _Connection, piece: bytes, sink: asyncio.StreamWriter
    ) -> bool:
        """Passes a piece on as the traffic is now; whether the rest may follow."""
        traffic = self._traffic
        pause_s = traffic.delay_s
        if traffic.bytes_per_s is not None:
            pause_s += len(piece) / traffic.bytes_per_s
        if pause_s:
            await asyncio.sleep(pause_s)
        await self._flowing.wait()
        if connection.is_half_open:
            return True
        connection.forwarded_bytes += len(piece)
        if traffic.limit_bytes is not None and connection.forwarded_bytes > traffic.limit_bytes:
            connection.hang_up(reset=True)
            return False
        sink.write(piece)
        await sink.drain()
        return True

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
