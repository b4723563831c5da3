"""The engine inside gunicorn, uWSGI, uvicorn and Celery loses nothing when workers restart.

While orders are placed, workers are restarted, one is killed and one is stopped. Acknowledged
orders must be in the database. The others are retried with their key and must then exist once. The
event of every order must arrive.
"""

import gc
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psycopg
import pytest
from billiard.exceptions import WorkerLostError  # type: ignore[import-untyped]
from celery import Celery  # type: ignore[import-untyped]

from order_engine import OrderEngine
from tests.deployments.worker import HEADER
from tests.python.support.event_spy import EventSpy
from tests.python.support.http_process import HttpProcess
from tests.python.support.legacy_service import REPOSITORY
from tests.python.support.retrying_load import PATIENCE_S, OrderRequest, RetryingLoad
from tests.python.support.servers import LOGGED_SERVERS, Broker
from tests.python.support.shop import PLACE
from tests.python.support.waiting import eventually
from tests.services import Workspace

if TYPE_CHECKING:
    from subprocess import Popen

WORKERS = 2
STOCK = 10**6
# A request with the same key is in progress, or the worker or its dependency is stopping.
UNDECIDED = (409, 502, 503)
GUNICORN = ("gunicorn", f"--workers={WORKERS}", "--no-control-socket", "--graceful-timeout=20")
SYNC = (*GUNICORN, "--worker-class=sync")
GTHREAD = (*GUNICORN, "--worker-class=gthread", "--threads=4")
GEVENT = (*GUNICORN, "--worker-class=gevent")
UVICORN = ("uvicorn", f"--workers={WORKERS}", "--no-access-log")
UWSGI = ("uwsgi", "--master", f"--processes={WORKERS}", "--enable-threads", "--die-on-term")
FLASK = "tests.deployments.flask_app:app"
OPEN_EARLY = {"OPEN_BEFORE_FORK": "yes"}
PRELOAD = "--preload"

DEPLOYMENTS: dict[str, tuple[tuple[str, ...], dict[str, str], str]] = {
    "gunicorn sync": ((*SYNC, FLASK), {}, ""),
    "gunicorn sync, preloaded": ((*SYNC, PRELOAD, FLASK), {}, ""),
    "gunicorn sync, preloaded and opened": ((*SYNC, PRELOAD, FLASK), OPEN_EARLY, ""),
    "gunicorn gthread": ((*GTHREAD, FLASK), {}, ""),
    "gunicorn gthread, preloaded": ((*GTHREAD, PRELOAD, FLASK), {}, ""),
    "gunicorn gevent": ((*GEVENT, FLASK), {}, ""),
    "gunicorn gevent, preloaded": ((*GEVENT, PRELOAD, FLASK), {}, ""),
    "gunicorn gevent, preloaded and opened": ((*GEVENT, PRELOAD, FLASK), OPEN_EARLY, ""),
    "gunicorn, plain WSGI": ((*GTHREAD, "tests.deployments.wsgi_app:app"), {}, ""),
    "uwsgi": ((*UWSGI, f"--module={FLASK}"), {}, ""),
    "uwsgi, opened before the fork": ((*UWSGI, f"--module={FLASK}"), OPEN_EARLY, ""),
    "uwsgi, lazy": ((*UWSGI, "--lazy-apps", f"--module={FLASK}"), {}, ""),
    "uvicorn": ((*UVICORN, "tests.deployments.asgi_app:app"), {}, ""),
    "uvicorn, mounted in Starlette": (
        (*UVICORN, "tests.deployments.asgi_app:mounted"),
        {},
        "/shop",
    ),
}


class Deployment(HttpProcess):
    """A server of Python applications with the engine inside, on its own port."""

    NAME = "deployment"

    def __init__(self, workspace: Workspace, folder: Path, env: dict[str, str], case: str) -> None:
        """Takes the name of one of the `DEPLOYMENTS`."""
        self._command, extra, self.prefix = DEPLOYMENTS[case]
        super().__init__(workspace, folder, env | extra)
        self.READY_PATH = f"{self.prefix}/"

    def command_line(self) -> list[str]:
        """The command line of the server in the foreground."""
        program, *arguments = self._command
        if program == "uwsgi":
            # It is not a Python program; it finds the packages by the environment's folder.
            executable = str(Path(sys.executable).with_name(program))
            place = [f"--http-socket=127.0.0.1:{self.port}", f"--virtualenv={sys.prefix}"]
            return [executable, *place, *arguments]
        if program == "gunicorn":
            place = [f"--bind=127.0.0.1:{self.port}"]
        else:
            place = ["--host=127.0.0.1", f"--port={self.port}"]
        return [sys.executable, "-m", program, *place, *arguments]

    def place(self, order_request: OrderRequest) -> tuple[int, str] | None:
        """Makes one attempt; a request that hangs is a failure."""
        variables = {
            "user": order_request.user_id,
            "lines": [{"productId": 1, "quantity": 1}],
            "key": order_request.key,
        }
        try:
            answer = self.client.post(
                f"{self.prefix}/graphql",
                json={"query": PLACE, "variables": variables},
                # A reused connection would stay with one worker.
                headers={
                    "Authorization": f"Bearer {self.token(order_request.user_id)}",
                    "Connection": "close",
                },
            )
        except httpx.TimeoutException:
            raise
        except httpx.TransportError:
            return None
        if answer.status_code in UNDECIDED:
            return None
        assert answer.status_code == 200, answer.text
        envelope = answer.json()["data"]["placeOrder"]
        assert envelope["success"], envelope
        return int(envelope["order"]["id"]), answer.headers[HEADER]


@pytest.fixture
def env(database_url: str, broker: Broker) -> dict[str, str]:
    """The settings of every deployment, with a product in stock."""
    with OrderEngine(database_url=database_url) as engine:
        engine.upsert_product(1, name="Mug", price="9.5", quantity=STOCK)
    return {
        "DATABASE_URL": database_url,
        "RABBITMQ_URL": broker.url,
        "PYTHONPATH": str(REPOSITORY),
    }


@pytest.mark.parametrize("case", DEPLOYMENTS)
def test_nothing_is_lost_when_workers_restart(
    case: str,
    env: dict[str, str],
    workspace: Workspace,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    server = Deployment(workspace, tmp_path, env, case)
    request.node.stash.setdefault(LOGGED_SERVERS, []).append(server)
    spy = EventSpy(env["RABBITMQ_URL"])
    load = RetryingLoad(server.place)
    server.start()
    try:
        # The workers publish events themselves.
        spy.wait_for(load.place_one().order_id)
        load.run(lambda: restart_workers(server, load))
    finally:
        server.stop()
    assert "SIGSEGV" not in server.log()
    check_books(env, load)
    check_events(env, load, spy)


def restart_workers(server: Deployment, load: RetryingLoad) -> None:
    """Restarts all workers gracefully, kills one, and terminates one."""
    first = load.wait_for_workers(WORKERS)
    os.kill(server.pid, signal.SIGHUP)
    second = load.wait_for_workers(WORKERS, but=first)
    killed, told_to_end = sorted(second)
    os.kill(int(killed), signal.SIGKILL)
    load.wait_for_workers(1, but=first | second)
    os.kill(int(told_to_end), signal.SIGTERM)
    load.wait_for_workers(WORKERS, but=first | second)


@pytest.mark.parametrize(
    "case",
    [
        "gunicorn sync",
        "gunicorn gevent, preloaded",
        "uwsgi",
        "uwsgi, lazy",
        "uvicorn",
    ],
)
def test_stopping_workers_release_their_partitions_immediately(
    case: str, env: dict[str, str], workspace: Workspace, tmp_path: Path
) -> None:
    """FIELD R5: uWSGI ends Python in a handler of `exit`, without thread-local variables."""
    server = Deployment(workspace, tmp_path, env, case)
    spy = EventSpy(env["RABBITMQ_URL"])
    server.start()
    try:
        spy.wait_for(RetryingLoad(server.place).place_one().order_id)
    finally:
        server.stop()
    assert "panicked" not in server.log()
    with psycopg.connect(env["DATABASE_URL"]) as database:
        held = "select name from order_engine.leases where expires_at > clock_timestamp()"
        assert database.execute(held).fetchall() == []


# Celery leaves open the connections on which client threads wait for results.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("early", [{}, OPEN_EARLY], ids=["opened by the worker", "by its parent"])
def test_nothing_is_lost_when_a_celery_worker_dies(
    early: dict[str, str], env: dict[str, str], workspace: Workspace, tmp_path: Path
) -> None:
    worker = CeleryWorker(workspace, tmp_path, env | early)
    spy = EventSpy(env["RABBITMQ_URL"])
    load = RetryingLoad(worker.place)
    worker.start()
    try:
        spy.wait_for(load.place_one().order_id)
        load.run(lambda: restart_celery(worker, load))
    finally:
        worker.stop()
        gc.collect()
    check_books(env, load)
    check_events(env, load, spy)


class CeleryWorker:
    """`celery worker` with two processes, and a client of it."""

    def __init__(self, workspace: Workspace, folder: Path, env: dict[str, str]) -> None:
        """Starts nothing."""
        self._workspace = workspace
        self._log = folder / "celery.log"
        self._env = dict(os.environ) | env
        self._client = Celery("client", broker=env["RABBITMQ_URL"], backend="rpc://")
        self._process: Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it; the queue may already hold tasks."""
        command = [sys.executable, "-m", "celery", "-A", "tests.deployments.celery_app", "worker"]
        command += [f"--concurrency={WORKERS}", "--pool=prefork", "--loglevel=info"]
        command += ["--without-gossip", "--without-mingle"]
        self._process = self._workspace.spawn(command, log=self._log, env=self._env)

    def stop(self) -> None:
        """Stops it once its current tasks are finished.

        Raises:
            AssertionError: it did not stop cleanly; its log is in the message.
        """
        assert self._process is not None
        self._process.terminate()
        code = self._process.wait(PATIENCE_S)
        assert code == 0, f"exit code {code}\n{self._log.read_text()}"
        assert "SIGSEGV" not in self._log.read_text()

    def place(self, order_request: OrderRequest) -> tuple[int, str] | None:
        """Makes one attempt; a task that hangs is a failure."""
        result = self._client.send_task("place", (order_request.user_id, order_request.key))
        try:
            order_id, pid = result.get(timeout=PATIENCE_S)
        except WorkerLostError:
            return None
        return order_id, str(pid)


def restart_celery(worker: CeleryWorker, load: RetryingLoad) -> None:
    """Kills one process, then all with their parent."""
    first = load.wait_for_workers(WORKERS)
    os.kill(int(min(first)), signal.SIGKILL)
    second = load.wait_for_workers(1, but=first)
    worker.stop()
    worker.start()
    load.wait_for_workers(WORKERS, but=first | second)


def check_books(env: dict[str, str], load: RetryingLoad) -> None:
    """Every acknowledged order exists, each retried one once, and no other."""
    with psycopg.connect(env["DATABASE_URL"]) as database:
        found = database.execute("select user_id, id from order_engine.orders").fetchall()
    reported = [(str(each.order_request.user_id), each.order_id) for each in load.acknowledged]
    assert sorted(found) == sorted(reported)
    by = f"{len(load.workers())} workers"
    print(f"\n{len(reported)} orders by {by}, {load.repeated} repetitions")  # noqa: T201


def check_events(env: dict[str, str], load: RetryingLoad, spy: EventSpy) -> None:
    """The event of every order arrives, at the latest when the killed processes' leases expire."""
    with psycopg.connect(env["DATABASE_URL"]) as database:
        # As after half a minute.
        database.execute("update order_engine.leases set expires_at = clock_timestamp()")
    wanted = {(each.order_id, each.order_request.user_id) for each in load.acknowledged}

    def received() -> set[tuple[int, int]]:
        return {(each.body["order_id"], each.body["user_id"]) for each in spy.received()}

    with OrderEngine(database_url=env["DATABASE_URL"], rabbitmq_url=env["RABBITMQ_URL"]):
        eventually(lambda: len(received()) >= len(wanted), "every order is published")
    assert received() == wanted
