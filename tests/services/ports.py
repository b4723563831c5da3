"""Free ports on the loopback interface."""

import secrets
import socket

# Below the range from which the kernel picks the local ports of outgoing connections, so that no
# client takes the port of a server that is being restarted; and away from every standard port.
FIRST_PORT, LAST_PORT = 20_000, 24_999


def free_port() -> int:
    """Returns a TCP port of 127.0.0.1 on which nobody listens now.

    Raises:
        OSError: no free port was found in 200 random attempts.
    """
    for _ in range(200):
        port = FIRST_PORT + secrets.randbelow(LAST_PORT - FIRST_PORT + 1)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise OSError(f"no free port between {FIRST_PORT} and {LAST_PORT} on 127.0.0.1")
