"""A consumer that counts events and records their arrival times, at low cost.

It shares the machine with the measured programs. Decoding every message in Python would use a whole
core at 10,000 messages per second; this consumer reads frame headers only.
"""

import bisect
import contextlib
import socket
import struct
import threading
import time
from typing import TypeVar, cast
from urllib.parse import unquote, urlsplit

from pika import amqp_object, frame, spec

from bench.errors import BenchError

EXCHANGE = "event_exchange"
QUEUE = "bench"
TOPIC = "order.placed"

CALL_TIMEOUT_S = 30.0
CHUNK_BYTES = 1 << 20
# Type, channel and size; after the payload comes one more byte.
FRAME_HEADER = struct.Struct(">BHI")
FRAME_OVERHEAD = FRAME_HEADER.size + 1
DELIVER = struct.pack(">HH", spec.Basic.Deliver.INDEX >> 16, spec.Basic.Deliver.INDEX & 0xFFFF)

Answer = TypeVar("Answer", bound=amqp_object.Method)


class Consumer:
    """Receives every `order.placed` through its own queue, as a deployed consumer would.

    Exchange and queue are declared like those of the existing services (not durable), without
    acknowledgements. The queue is deleted with the consumer.
    """

    def __init__(self, url: str) -> None:
        """Connects, binds and starts to count.

        Raises:
            OSError: the broker cannot be reached.
            BenchError: the broker refused something.
        """
        self.server_version = ""
        self._totals: list[int] = []
        self._times: list[float] = []
        self._arrived = threading.Condition()
        self._is_open = True
        self._rest = b""
        address = urlsplit(url)
        where = (address.hostname or "", address.port or spec.PORT)
        self._socket = socket.create_connection(where, timeout=CALL_TIMEOUT_S)
        try:
            self._log_in(address.username, address.password, unquote(address.path[1:]))
            self._subscribe()
        except BaseException:
            self._socket.close()
            raise
        self._socket.settimeout(None)
        self._thread = threading.Thread(target=self._count, name="consumer", daemon=True)
        self._thread.start()

    @property
    def count(self) -> int:
        """The number of messages so far."""
        with self._arrived:
            return self._totals[-1] if self._totals else 0

    def wait_for(self, count: int, timeout_s: float) -> float:
        """Waits for the `count`-th message (1 is the first).

        Returns:
            Its arrival time, on the clock of `time.perf_counter`.

        Raises:
            BenchError: it did not arrive within `timeout_s` seconds, or the broker disconnected.
        """
        with self._arrived:
            came = self._arrived.wait_for(lambda: self._has(count) or not self._is_open, timeout_s)
            if not came or not self._has(count):
                last = self._totals[-1] if self._totals else 0
                why = f"within {timeout_s:g} s" if self._is_open else "before the broker hung up"
                raise BenchError(f"{last} of {count} messages came {why}")
            return self._times[bisect.bisect_left(self._totals, count)]

    def close(self) -> None:
        """Disconnects, which deletes the queue."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _has(self, count: int) -> bool:
        return bool(self._totals) and self._totals[-1] >= count

    def _log_in(self, user: str | None, password: str | None, vhost: str) -> None:
        self._socket.sendall(frame.ProtocolHeader().marshal())
        start = self._expect(spec.Connection.Start)
        self.server_version = str((start.server_properties or {}).get("version", "unknown"))
        secret = f"\0{unquote(user or '')}\0{unquote(password or '')}"
        self._send(0, spec.Connection.StartOk(client_properties={}, response=secret))
        tune = self._expect(spec.Connection.Tune)
        self._send(0, spec.Connection.TuneOk(tune.channel_max, tune.frame_max, 0))
        self._send(0, spec.Connection.Open(vhost or "/"))
        self._expect(spec.Connection.OpenOk)

    def _subscribe(self) -> None:
        self._send(1, spec.Channel.Open())
        self._expect(spec.Channel.OpenOk)
        self._send(1, spec.Exchange.Declare(exchange=EXCHANGE, type="direct"))
        self._expect(spec.Exchange.DeclareOk)
        self._send(1, spec.Queue.Declare(queue=QUEUE, exclusive=True))
        self._expect(spec.Queue.DeclareOk)
        self._send(1, spec.Queue.Bind(queue=QUEUE, exchange=EXCHANGE, routing_key=TOPIC))
        self._expect(spec.Queue.BindOk)
        self._send(1, spec.Basic.Consume(queue=QUEUE, no_ack=True))
        self._expect(spec.Basic.ConsumeOk)

    def _send(self, channel: int, method: amqp_object.Method) -> None:
        self._socket.sendall(frame.Method(channel, method).marshal())

    def _expect(self, kind: type[Answer]) -> Answer:
        while True:
            size, received = frame.decode_frame(self._rest)
            if received is not None:
                break
            chunk = self._socket.recv(CHUNK_BYTES)
            if not chunk:
                raise BenchError(f"the broker hung up before {kind.NAME}")
            self._rest += chunk
        self._rest = self._rest[size:]
        method = getattr(received, "method", None)
        if not isinstance(method, kind):
            raise BenchError(f"the broker answered {method!r} instead of {kind.NAME}")
        return method

    def _count(self) -> None:
        total, rest = 0, self._rest
        while chunk := self._receive():
            now = time.perf_counter()
            count, rest = _deliveries(rest + chunk)
            if count:
                total += count
                with self._arrived:
                    self._totals.append(total)
                    self._times.append(now)
                    self._arrived.notify_all()
        with self._arrived:
            self._is_open = False
            self._arrived.notify_all()

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(CHUNK_BYTES)
        except OSError:
            return b""


def _deliveries(data: bytes) -> tuple[int, bytes]:
    """Counts the deliveries in the complete frames of `data`; returns the rest as well."""
    count = offset = 0
    while len(data) - offset >= FRAME_OVERHEAD:
        kind, _channel, size = cast("tuple[int, int, int]", FRAME_HEADER.unpack_from(data, offset))
        end = offset + size + FRAME_OVERHEAD
        if end > len(data):
            break
        if kind == spec.FRAME_METHOD and data.startswith(DELIVER, offset + FRAME_HEADER.size):
            count += 1
        offset = end
    return count, data[offset:]
