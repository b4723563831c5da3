"""Free ports on the loopback interface."""

import itertools
import secrets
import socket

# Below the range from which the kernel picks the local ports of outgoing connections, so that no
# client takes the port of a server that is being restarted; and away from every standard port.
FIRST_PORT, LAST_PORT = 20_000, 24_999

# One walk through all of them, begun anywhere: two ports drawn before either is listened on are
# never the same, nor is one drawn whose server is stopped just now and comes back.
_walk = itertools.cycle(range(FIRST_PORT, LAST_PORT + 1))
next(itertools.islice(_walk, secrets.randbelow(LAST_PORT - FIRST_PORT), None))


def free_port() -> int:
    """Returns a TCP port of 127.0.0.1 on which nothing listens.

    Raises:
        OSError: no port is free.
    """
    for port in itertools.islice(_walk, LAST_PORT - FIRST_PORT + 1):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise OSError(f"no free port between {FIRST_PORT} and {LAST_PORT} on 127.0.0.1")
