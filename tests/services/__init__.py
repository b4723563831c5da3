"""Private PostgreSQL, RabbitMQ, Kafka and Redis servers on free loopback ports, for tests only."""

from tests.services.errors import MissingServiceError, ServiceError
from tests.services.kafka import Kafka
from tests.services.postgresql import PostgreSQL, Standby
from tests.services.rabbitmq import RabbitMQ
from tests.services.redis import Redis
from tests.services.service import Service
from tests.services.workspace import Workspace

__all__ = [
    "Kafka",
    "MissingServiceError",
    "PostgreSQL",
    "RabbitMQ",
    "Redis",
    "Service",
    "ServiceError",
    "Standby",
    "Workspace",
]
