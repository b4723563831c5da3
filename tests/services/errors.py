"""What can go wrong with a private server."""


class ServiceError(Exception):
    """A server did not start, stop or answer; the message contains the end of its log."""


class MissingServiceError(ServiceError):
    """The programs of a server are not installed; the message explains how to install them."""
