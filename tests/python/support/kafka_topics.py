"""Creates and deletes topics."""

from contextlib import closing, suppress

from kafka import KafkaAdminClient  # type: ignore[import-untyped]
from kafka.admin import NewTopic  # type: ignore[import-untyped]
from kafka.errors import TopicAlreadyExistsError  # type: ignore[import-untyped]


def make_topics(brokers: str, *names: str, partitions: int = 1) -> None:
    """Creates topics; existing ones stay unchanged."""
    client = KafkaAdminClient(bootstrap_servers=brokers)
    with closing(client) as admin, suppress(TopicAlreadyExistsError):
        admin.create_topics([NewTopic(name, partitions, 1) for name in names])


def delete_topics(brokers: str) -> None:
    """Removes every topic but Kafka's own."""
    with closing(KafkaAdminClient(bootstrap_servers=brokers)) as admin:
        admin.delete_topics([name for name in admin.list_topics() if not name.startswith("__")])
