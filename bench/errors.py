"""What makes a run worthless, and so ends it."""


class BenchError(Exception):
    """A measurement could not be taken or cannot be trusted; the message says why."""
