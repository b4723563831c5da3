"""How gunicorn runs the service: threads that wait for the database, and a relay per worker."""

import os
from typing import Any

bind = f"127.0.0.1:{os.environ['PORT']}"
worker_class = "gthread"
# One for each of the machine's two cores. More, as gunicorn's rule of thumb has it, were slower
# here, because PostgreSQL and the clients want the cores as well.
workers = 2
threads = 16
keepalive = 75
wsgi_app = "app:create_app()"
control_socket_disable = True


def post_worker_init(_worker: Any) -> None:
    """Starts the relay where the threads are: after the fork."""
    import relay  # noqa: PLC0415 - the master needs no connection

    relay.start()
