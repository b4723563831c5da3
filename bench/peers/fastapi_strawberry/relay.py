"""Publishes the outbox to RabbitMQ: a task in each process, notified of each order."""

import asyncio
import logging

import aio_pika
import asyncpg
from aio_pika.abc import AbstractExchange

EXCHANGE = "event_exchange"
BATCH = 100
IDLE_S = 1.0
RETRY_S = 1.0

log = logging.getLogger("relay")

TAKE = """
select id, stream_id as order_id, version, message_id, topic, body from outbox
where destination = 'fastapi' and stream_kind = 'order'
order by stream_id limit $1 for update skip locked
"""
DELETE = """
delete from outbox
using unnest($1::bigint[], $2::integer[], $3::bigint[]) as sent (order_id, version, id)
where outbox.destination = 'fastapi' and outbox.stream_kind = 'order'
  and outbox.stream_id = sent.order_id
  and outbox.version = sent.version and outbox.id = sent.id
"""


class Relay:
    """The relay of one process."""

    def __init__(self, pool: asyncpg.Pool, url: str) -> None:
        """Does nothing before `run`."""
        self._pool = pool
        self._url = url
        self._orders_came = asyncio.Event()

    def wake(self) -> None:
        """Notifies the relay of a committed message."""
        self._orders_came.set()

    async def run(self) -> None:
        """Publishes until it is cancelled."""
        # The connection is restored automatically; a failed publish is retried.
        connection = await aio_pika.connect_robust(self._url)
        async with connection:
            # Publisher confirms are on by default: `publish` returns after the confirm.
            channel = await connection.channel(on_return_raises=True)
            exchange = await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.DIRECT)
            while True:
                self._orders_came.clear()
                try:
                    sent = await self._send(exchange)
                except (aio_pika.exceptions.AMQPError, asyncpg.PostgresError, OSError):
                    log.exception("messages could not be sent; they wait")
                    await asyncio.sleep(RETRY_S)
                    continue
                if not sent:
                    await self._pause()

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._orders_came.wait(), IDLE_S)
        except TimeoutError:
            return

    async def _send(self, exchange: AbstractExchange) -> int:
        """Publishes a batch, whose rows other processes skip; returns its size."""
        async with self._pool.acquire() as connection, connection.transaction():
            waiting = await connection.fetch(TAKE, BATCH)
            await asyncio.gather(*(self._publish(exchange, row) for row in waiting))
            keys = [[row[name] for row in waiting] for name in ("order_id", "version", "id")]
            await connection.execute(DELETE, *keys)
        return len(waiting)

    @staticmethod
    async def _publish(exchange: AbstractExchange, row: asyncpg.Record) -> None:
        message = aio_pika.Message(
            row["body"].encode(),
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=str(row["message_id"]),
        )
        await exchange.publish(message, row["topic"], mandatory=True)
