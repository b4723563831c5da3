"""With `log_format = json`, every line of the commands is JSON (issue 13, "Logs")."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import jwt
import pytest
import requests

from tests.python.support.waiting import eventually
from tests.services.ports import free_port

SECRET = "a secret of sufficient length for HS256"
INHERITED = ("HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "TMPDIR")


def environment(**more: str) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return inherited | {"ORDER_ENGINE_LOG_FORMAT": "json"} | more


def lines(text: str) -> list[dict[str, object]]:
    """Parse each line; fails if one is not a JSON object with a level and a message."""
    parsed = [json.loads(line) for line in text.splitlines()]
    assert parsed
    assert all({"timestamp", "level", "message", "target"} <= line.keys() for line in parsed), text
    return parsed


@pytest.mark.parametrize(
    ("arguments", "env", "said"),
    [
        (("serve",), {"DATABASE_URL": "postgresql://u@127.0.0.1:1/d"}, "jwt_secret_key"),
        (
            ("serve", "--port", "0"),
            {"DATABASE_URL": "postgresql://u@127.0.0.1:1/d", "JWT_SECRET_KEY": SECRET},
            "127.0.0.1",
        ),
        (("serve", "--nope"), {}, "--nope"),
        (("nope",), {}, "nope"),
        (("migrate",), {"DATABASE_URL": "mysql://u@127.0.0.1/d"}, "database_url"),
    ],
)
def test_a_command_that_fails_says_so_in_json(
    tmp_path: Path, arguments: tuple[str, ...], env: dict[str, str], said: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "order_engine", *arguments],
        cwd=tmp_path,
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (1, 2)
    last = lines(done.stdout + done.stderr)[-1]
    assert last["level"] == "ERROR"
    assert said in str(last["message"]), last


def test_serve_logs_json_from_start_to_end(tmp_path: Path, database_url: str) -> None:
    output = tmp_path / "output"
    port = free_port()
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "order_engine", "serve", "--port", str(port)],
            cwd=tmp_path,
            env=environment(DATABASE_URL=database_url, JWT_SECRET_KEY=SECRET),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        eventually(lambda: re.search("Serving at", output.read_text()), "it serves", 60)
        token = jwt.encode({"user_id": 1, "exp": 4102444800}, "another" + SECRET, "HS256")
        answer = requests.post(
            f"http://127.0.0.1:{port}/graphql",
            json={"query": "{ getOrder(id: 7) { id } }"},
            headers={"Authorization": f"Bearer {token}"},
            timeout=10,
        )
        identity = answer.headers["x-request-id"]
        eventually(lambda: identity in output.read_text(), "the request is logged", 10)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
    parsed = lines(output.read_text())
    [request] = [line for line in parsed if line.get("request_id") == identity]
    assert request["operation"] == "getOrder"
    assert request["order"] == "7"
    assert request["outcome"] == "TOKEN_INVALID"
    assert request["reason"] == 'no key for "HS256" has signed it'
    assert token not in output.read_text()
