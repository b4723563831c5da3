"""The Flask order service that the engine replaces, written down as a fixture for tests.

It imitates the deployed service, its faults included, and is no example to follow: any valid token
reads and writes everything, nothing is reserved, money is binary floating point, all rows of one
process were created at the same moment, exceptions are shown to clients, and an event is published
after the commit, over a connection of its own, and is lost when that fails.
"""

from tests.legacy_app.factory import create_app

__all__ = ["create_app"]
