"""A TCP connection between a server and what it uses, which a test cuts, freezes and mends."""

import contextlib
import socket
import threading
from types import TracebackType

CHUNK_BYTES = 65_536


class BreakableLink:
    """Forwards from a port of its own to another one on this machine."""

    def __init__(self, target_port: int) -> None:
        """Listens, and forwards at once."""
        self._target = ("127.0.0.1", target_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._flowing = threading.Event()
        self._flowing.set()
        self._is_cut = False
        self._is_closed = False
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

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
        self._is_closed = True
        self._flowing.set()
        # Wakes the thread that waits in accept.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._hang_up()

    def cut(self) -> None:
        """Hangs up, and goes on doing so with whoever connects."""
        self._is_cut = True
        self._hang_up()

    def freeze(self) -> None:
        """Takes everything and passes nothing on."""
        self._flowing.clear()

    def mend(self) -> None:
        """Forwards again; what was taken while it was frozen arrives now."""
        self._is_cut = False
        self._flowing.set()

    def _hang_up(self) -> None:
        with self._lock:
            ends, self._open = self._open, set()
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._is_cut:
                near.close()
                continue
            try:
                far = socket.create_connection(self._target)
            except OSError:
                near.close()
                continue
            with self._lock:
                self._open |= {near, far}
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(CHUNK_BYTES):
                self._flowing.wait()
                sink.sendall(chunk)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
