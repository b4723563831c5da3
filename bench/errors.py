"""The error that ends a run without valid results."""


class BenchError(Exception):
    """A measurement could not be taken or cannot be trusted; the message says why."""
