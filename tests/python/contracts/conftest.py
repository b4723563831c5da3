"""A browser, and engines with the contract `stock`."""

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from tests.python.support.browser import WatchedBrowser, open_browser
from tests.python.support.engine_process import EngineProcess
from tests.python.support.kafka_topics import make_topics
from tests.python.support.stock_shop import StockShop
from tests.services import Kafka, Redis


@pytest.fixture
def browser() -> Iterator[WatchedBrowser]:
    """Chromium with an empty profile."""
    with open_browser() as opened:
        yield opened


@pytest.fixture
def make_stock(
    database_url: str, kafka: Kafka, redis: Redis, make_engine: Callable[..., EngineProcess]
) -> Callable[..., EngineProcess]:
    """Creates engines with the contract `stock` without authentication; not started yet."""
    # A consumer polls for missing topics only rarely: create them first.
    make_topics(kafka.url, "product_events", "user_logged_in")
    usual = {
        "DATABASE_URL": database_url,
        "KAFKA_BROKER": kafka.url,
        "REDIS_URL": redis.url,
        "ORDER_ENGINE_STOCK_AUTH": "none",
    }
    stock = ("--contract", "stock")
    return lambda *arguments, **env: make_engine(usual | env, *stock, *arguments)


@pytest.fixture
def stock_shop(make_stock: Callable[..., EngineProcess]) -> Iterator[StockShop]:
    """A running engine with the contract `stock` and its dependencies."""
    engine = make_stock()
    engine.start()
    with closing(StockShop(engine)) as opened:
        yield opened
