"""The header that names the worker process which gave an answer."""

import os

HEADER = "X-Worker"


def worker() -> str:
    """The process that serves the request; it may be a fork of the one that imported this."""
    return str(os.getpid())
