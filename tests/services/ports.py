"""Free ports on the loopback interface."""

import itertools
import os
import secrets
import socket

# Below the range from which the kernel picks the local ports of outgoing connections, so that no
# client takes the port of a server that is being restarted; and without any standard port.
FIRST_PORT, LAST_PORT = 20_000, 24_999
# Each worker of pytest-xdist has a part of the range.
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_ports = range(FIRST_PORT, LAST_PORT + 1)[WORKER::WORKERS]

# The ports are used in turn, from a random one on: a port is not given again soon after, while its
# server is stopped for a restart.
_walk = itertools.cycle(_ports)
next(itertools.islice(_walk, secrets.randbelow(len(_ports)), None))


def free_port() -> int:
    """Returns a TCP port of 127.0.0.1 on which nothing listens.

    Raises:
        OSError: no port is free.
    """
    for port in itertools.islice(_walk, len(_ports)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise OSError(f"no free port between {FIRST_PORT} and {LAST_PORT} on 127.0.0.1")
