"""No token, password or secret appears in logs, responses, metrics or reprs."""

import json
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from order_engine import OrderEngine, OrderEngineError
from tests.python.support.engine_process import EngineProcess
from tests.python.support.product_service import Product
from tests.python.support.servers import Broker
from tests.python.support.shop import Shop
from tests.python.support.waiting import eventually

EVERYTHING = "debug,lapin=debug,sqlx=debug,hyper=debug,tower=debug,h2=debug"
WRONG = "hunter2-is-no-password"


def password_of(url: str) -> str:
    password = urlsplit(url).password
    assert password
    return password


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_debug_log_contains_no_secrets(
    make_server: Callable[..., EngineProcess], broker: Broker, database_url: str, log_format: str
) -> None:
    server = make_server(ORDER_ENGINE_LOG=EVERYTHING, ORDER_ENGINE_LOG_FORMAT=log_format)
    server.start()
    expired = server.token(1, exp=1)
    good, tampered = server.token(1), server.token(2)[:-6] + "AAAAAA"
    bearer = {"Authorization": f"Bearer {good}"}
    with closing(Shop(server, broker.url)) as shop:
        shop.offer(Product(1))
        shop.spy.wait_for(shop.placed((1, 1), key="the-key-of-a-request"))
    answers = [
        server.graphql("{ getOrders { id } }", token=token) for token in (good, expired, tampered)
    ]
    answers.append(server.client.post("/graphql", content=b"{", headers=bearer))
    answers.append(server.client.get("/graphql", params={"query": "{", "token": good}))
    answers += [server.client.get(path) for path in ("/metrics", "/readyz", "/healthz", "/graphql")]
    reported = [answer.text for answer in answers]
    reported += [server.command("config"), server.command("config", "--json")]
    reported += [server.command("doctor"), server.command("events", "tail", "--json")]
    server.stop()
    reported.append(server.log())
    secrets = [server.secret, password_of(database_url), password_of(broker.url)]
    for token in (good, expired, tampered):
        secrets += [part for part in token.split(".")[1:] if len(part) > 6]
    text = "\n".join(reported)
    assert "DEBUG" in text
    for secret in secrets:
        assert secret not in text


def test_errors_about_urls_contain_no_passwords(
    make_server: Callable[..., EngineProcess], broker: Broker
) -> None:
    wrong = broker.url.replace(password_of(broker.url), WRONG)
    server = make_server(ORDER_ENGINE_LOG=EVERYTHING, RABBITMQ_URL=wrong)
    server.start()
    eventually(lambda: "interrupted" in server.log(), "the refusal is logged")
    doctor = subprocess.run(
        [sys.executable, "-m", "order_engine", "doctor"],
        env=server.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert doctor.returncode == 1
    assert "rabbitmq" in doctor.stdout
    reported = [
        doctor.stdout,
        doctor.stderr,
        server.client.get("/readyz").text,
        server.command("config"),
    ]
    server.stop()
    assert WRONG not in "\n".join([*reported, server.log()])


@pytest.mark.parametrize(
    "settings",
    [
        {"database_url": f"postgresql://me:{WRONG}@127.0.0.1:1/shop"},
        {"database_url": f"postgresql://me:{WRONG}@[::broken/shop"},
        {"database_url": f"mysql://me:{WRONG}@127.0.0.1/shop"},
        {"database_url": f"//me:{WRONG}@nowhere"},
        {"database_url": f"postgresql://me:{WRONG}@127.0.0.1:1/shop?{WRONG}=1&sslmode={WRONG}"},
        {
            "database_url": "postgresql://me@127.0.0.1:1/shop",
            "rabbitmq_url": f"amqp://me:{WRONG}@[::",
        },
        {
            "database_url": "postgresql://me@127.0.0.1:1/shop",
            "rabbitmq_url": f"http://me:{WRONG}@x",
        },
        {"database_url": "postgresql://me@127.0.0.1:1/shop", "jwt_secret_key": WRONG, "port": "x"},
    ],
)
def test_errors_of_the_module_contain_no_secrets(settings: dict[str, str]) -> None:
    with pytest.raises(OrderEngineError) as refused:
        OrderEngine(**settings).open()  # type: ignore[arg-type]
    error = refused.value
    shown = [str(error), repr(error), json.dumps(error.context), repr(error.__cause__)]
    shown += traceback.format_exception_only(type(error), error)
    assert WRONG not in "\n".join(shown)


def test_the_reprs_of_an_open_engine_contain_no_secrets(database_url: str, tmp_path: Path) -> None:
    with OrderEngine(
        database_url=database_url, jwt_secret_key=WRONG * 2, pages_dir=str(tmp_path)
    ) as engine:
        shown = f"{engine!r} {engine} {engine.health()!r} {vars(engine)!r}"
    assert WRONG not in shown
    assert password_of(database_url) not in shown
