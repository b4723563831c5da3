"""`/readyz` reports each component; only the database is required."""

from dataclasses import dataclass
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.python.support.all_contracts import AllContracts
from tests.python.support.engine_process import EngineProcess
from tests.python.support.servers import Broker
from tests.python.support.waiting import eventually
from tests.services import Kafka, Redis, Service

PATIENCE_S = 60.0
UP = {"state": "up"}
WAIT = "Orders are accepted; their events stay in the outbox."


@dataclass(frozen=True)
class Checked:
    """An engine with every contract."""

    server: EngineProcess

    def parts(self) -> dict[str, Any]:
        """The components; orders can be placed without them."""
        answer = self.server.client.get("/readyz")
        assert answer.status_code == httpx.codes.OK, answer.text
        body = answer.json()
        assert body["status"] == "ready"
        assert answer.headers["cache-control"] == "no-store"
        parts: dict[str, Any] = body["parts"]
        return parts

    def wait_until_away(self, *names: str) -> None:
        """Waits until exactly these components are reported as unavailable."""

        def is_so() -> bool:
            return {name for name, part in self.parts().items() if part != UP} == set(names)

        eventually(is_so, f"away: {', '.join(names) or 'nothing'}", PATIENCE_S)

    def metrics(self) -> dict[str, float]:
        """Whether `/metrics` reports the same."""
        text = self.server.client.get("/metrics").text
        return {
            sample.labels["component"]: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "order_engine_component_up"
        }


def test_orders_are_placed_while_components_fail_and_recover(
    all_contracts: AllContracts, broker: Broker, kafka: Kafka, redis: Redis
) -> None:
    checked = Checked(all_contracts.server)
    checked.wait_until_away()
    assert checked.parts().keys() == {"postgresql", "rabbitmq", "kafka", "redis", "cache"}
    assert set(checked.metrics().values()) == {1.0}
    services: list[tuple[Service, set[str]]] = [
        (broker.server, {"rabbitmq"}),
        (kafka, {"kafka"}),
        (redis, {"redis", "cache"}),
    ]
    for service, parts in services:
        service.stop()
        try:
            checked.wait_until_away(*parts)
            reported = checked.parts()
            for name in parts - {"cache"}:
                assert reported[name] == {"state": "down", "required": False, "meaning": WAIT}
            metrics = checked.metrics()
            assert {name for name, value in metrics.items() if value == 0} == parts
            for contract in all_contracts.urls:
                assert getattr(all_contracts, contract)(), contract
        finally:
            service.start()
        checked.wait_until_away()
    assert redis.password not in checked.server.client.get("/readyz").text
