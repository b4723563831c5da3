"""schemathesis finds no difference between a REST API and its OpenAPI document."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from order_engine import OrderEngine
from tests.python.support.api_descriptions import OPENAPI, Description
from tests.python.support.engine_process import EngineProcess
from tests.services import Redis

REQUESTS_PER_OPERATION = 25
RUN_TIMEOUT_S = 240
# Statuses of valid requests: a schema does not describe tokens, existing rows, the first use of a
# key, or unavailable components.
REFUSALS = ["401", "403", "404", "409", "422", "503"]
# Contracts in which an unknown product is a bad request and not a conflict.
UNKNOWN_PRODUCT = {"gateway": ["400"], "stock": ["400"]}
# Its GET returns the orders of a user, not the order of that id.
NOT_CHECKED = {"stock": ["use_after_free"]}
CONFIGURATION = "schemathesis.toml"


def examples(document: object) -> Iterator[str]:
    """Finds the example texts of a document, among them product ids."""
    if isinstance(document, dict):
        if isinstance(example := document.get("example"), str):
            yield example
        yield from (each for each in document.get("examples", []) if isinstance(each, str))
        for each in document.values():
            yield from examples(each)
    elif isinstance(document, list):
        for each in document:
            yield from examples(each)


def offer(database_url: str, products: set[str]) -> None:
    """Stores products, so that the example order can be placed."""
    with OrderEngine(database_url=database_url) as engine:
        for product in products:
            engine.upsert_product(product, name="Mug", price="9.5")
            engine.apply_event("inventory.updated", {"product_id": product, "quantity": 10_000})


@pytest.mark.parametrize("description", OPENAPI, ids=str)
def test_the_api_matches_its_openapi_document(
    description: Description,
    make_server: Callable[..., EngineProcess],
    database_url: str,
    redis: Redis,
    tmp_path: Path,
) -> None:
    offer(database_url, set(examples(json.loads(description.file.read_text()))))
    auth = {f"ORDER_ENGINE_{description.contract.upper()}_AUTH": "jwt"}
    server = make_server(
        *("--contract", description.contract, "--metrics-port", "0"), **auth, REDIS_URL=redis.url
    )
    server.start()
    excluded = NOT_CHECKED.get(description.contract, [])
    accepted = ["2xx", *REFUSALS, *UNKNOWN_PRODUCT.get(description.contract, [])]
    (tmp_path / CONFIGURATION).write_text(
        f"[checks.positive_data_acceptance]\nexpected-statuses = {accepted}\n"
    )
    token = server.token("user-id", role="admin")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"),
            *("--header", f"Authorization: Bearer {token}"),
            # The same requests in every run.
            *("--generation-deterministic", "--no-color", "--continue-on-failure"),
            *("--max-examples", str(REQUESTS_PER_OPERATION)),
            # A repeated key returns its first answer, even if the order has been deleted.
            *("--exclude-checks", ",".join(["ensure_resource_availability", *excluded])),
        ],
        cwd=tmp_path,
        env=server.env,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with psycopg.connect(database_url, options="-c search_path=order_engine") as connection:
        placed = connection.execute("select count(*) from orders").fetchone()
    assert placed is not None
    assert placed[0] > 0, "no order was placed, so little was tried"
