"""The operations of `AsyncOrderEngine`.

Written by `make generate` from the native module; do not edit it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime, timedelta
    from decimal import Decimal
    from typing import Any

    from order_engine._native import (
        Check,
        DeadLetter,
        Event,
        HistoryEntry,
        HttpResponse,
        Order,
        OrderPage,
        Product,
        ReplayProgress,
        ResponseStream,
        User,
        WebSocket,
    )
    from order_engine.argument_types import Headers, Id, Line, OrderRow
    from order_engine.connection import AsyncConnection
    from order_engine.exceptions import OrderEngineError
    from order_engine.status import OrderStatus


class AsyncEngineOperations:
    """The operations of `AsyncOrderEngine`."""

    _connection: AsyncConnection

    async def place_order(
        self,
        *,
        user_id: Id,
        lines: Iterable[Line],
        idempotency_key: str | None = None,
        actor: Id | None = None,
    ) -> Order:
        """Place an order: reserve the stock, fix the prices and record the events, all or nothing.

        Args:
            user_id: The customer.
            lines: What is ordered: `(product_id, quantity)` tuples, or dicts or objects with
                `product_id` and `quantity`.
            idempotency_key: Makes a retry safe: a second call with the same key and the same order
                returns the first order. 1 to 255 characters.
            actor: Who places the order, for its history; `system` by default.

        Returns:
            The order as stored.

        Raises:
            InvalidInput: No lines, a quantity out of range, or an invalid key.
            TooLarge: Too many lines.
            ProductNotFound: A product is not in the catalog.
            OutOfStock: Fewer units are available than ordered.
            UnknownUser: The user is unknown and `allow_unknown_users` is off.
            IdempotencyMismatch: The key was used for a different order.
            Conflict: Another call is using the key right now. Retry.
            OutcomeUnknown: The connection broke during the commit. Retry with the same key.
        """
        return await (await self._connection.engine()).place_order(
            user_id=user_id, lines=lines, idempotency_key=idempotency_key, actor=actor
        )

    async def place_orders(
        self, rows: Iterable[OrderRow], *, actor: Id | None = None
    ) -> list[Order | OrderEngineError]:
        """Place many orders in one call, each on its own: a failure affects only its own row.

        Much faster than separate calls, because orders are committed in groups. The rows are
        placed in no particular order; put a row that depends on another one into a later call.

        Args:
            rows: The orders: `(user_id, lines)` or `(user_id, lines, idempotency_key)` tuples, or
                dicts or objects with these names.
            actor: Who places the orders, for their history; `system` by default.

        Returns:
            For each row its order, or the error that `place_order` would have raised.

        Raises:
            InvalidInput: `rows` is not iterable. A wrong row does not raise.
        """
        return await (await self._connection.engine()).place_orders(rows, actor=actor)

    async def get_order(self, order_id: Id, *, user_id: Id | None = None) -> Order:
        """Read one order.

        Args:
            order_id: The order's number, or its id of 24 hex digits.
            user_id: Only if it is this user's order; any user's by default.

        Returns:
            The order.

        Raises:
            NotFound: There is no such order, or it is another user's.
        """
        return await (await self._connection.engine()).get_order(order_id, user_id=user_id)

    async def list_orders(
        self,
        *,
        user_id: Id | None = None,
        status: OrderStatus | str | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> OrderPage:
        """Read one page of orders, newest first.

        Args:
            user_id: Only orders of this user; of all users by default.
            status: Only orders in this status, in any case.
            limit: Size of the page, 1 to 100.
            cursor: The `next_cursor` of the previous page.

        Returns:
            The orders, and the cursor of the next page.

        Raises:
            InvalidInput: An unknown status, a limit out of range, or an invalid cursor.
        """
        return await (await self._connection.engine()).list_orders(
            user_id=user_id, status=status, limit=limit, cursor=cursor
        )

    async def change_status(
        self,
        order_id: Id,
        status: OrderStatus | str,
        *,
        reason: str | None = None,
        actor: Id | None = None,
    ) -> Order:
        """Move an order to another status. Moving it to its current status changes nothing.

        Args:
            order_id: The order's number, or its id of 24 hex digits.
            status: The new status, in any case.
            reason: Reason for the order's history, at most 500 characters.
            actor: Who makes the change, for the history; `system` by default.

        Returns:
            The order after the change.

        Raises:
            InvalidInput: An unknown status, or a reason that is too long.
            NotFound: There is no such order.
            InvalidTransition: The current status does not allow this; see `allowed`.
        """
        return await (await self._connection.engine()).change_status(
            order_id, status, reason=reason, actor=actor
        )

    async def cancel_order(
        self, order_id: Id, *, reason: str | None = None, actor: Id | None = None
    ) -> Order:
        """Cancel an order and release the stock that it reserved.

        Args:
            order_id: The order's number, or its id of 24 hex digits.
            reason: Reason for the order's history, at most 500 characters.
            actor: Who cancels, for the history; `system` by default.

        Returns:
            The cancelled order.

        Raises:
            InvalidInput: A reason that is too long.
            NotFound: There is no such order.
            InvalidTransition: The order has been shipped, delivered or returned.
        """
        return await (await self._connection.engine()).cancel_order(
            order_id, reason=reason, actor=actor
        )

    async def delete_order(
        self, order_id: Id, *, reason: str | None = None, actor: Id | None = None
    ) -> None:
        """Delete an order and release the stock that it reserved. Its history is kept.

        Args:
            order_id: The order's number, or its id of 24 hex digits.
            reason: Reason for the order's history, at most 500 characters.
            actor: Who deletes, for the history; `system` by default.

        Raises:
            InvalidInput: A reason that is too long.
            NotFound: There is no such order.
            InvalidTransition: The order has been shipped and not delivered yet.
        """
        await (await self._connection.engine()).delete_order(order_id, reason=reason, actor=actor)

    async def order_history(self, order_id: Id) -> list[HistoryEntry]:
        """Read the changes of an order, oldest first; also of a deleted order.

        Args:
            order_id: The order's number, or its id of 24 hex digits.

        Returns:
            One entry for each version of the order.

        Raises:
            NotFound: There is no such order.
        """
        return await (await self._connection.engine()).order_history(order_id)

    async def get_user(self, user_id: Id) -> User:
        """Read a user.

        Args:
            user_id: The user's id.

        Returns:
            What is known about the user.

        Raises:
            NotFound: No event and no `upsert_user` has named this user. Such a user may place
                orders unless `allow_unknown_users` is off.
        """
        return await (await self._connection.engine()).get_user(user_id)

    async def upsert_user(
        self,
        user_id: Id,
        *,
        username: str | None = None,
        email: str | None = None,
        address: str | None = None,
        contact: str | None = None,
    ) -> None:
        """Create or update a user. Arguments that are left out keep their value.

        A new address applies to orders that are placed from now on.

        Args:
            user_id: The user's id.
            username: Display name.
            email: Email address.
            address: Delivery address.
            contact: Telephone number or other contact.

        Raises:
            InvalidInput: Text that PostgreSQL cannot store.
        """
        await (await self._connection.engine()).upsert_user(
            user_id, username=username, email=email, address=address, contact=contact
        )

    async def get_product(self, product_id: Id) -> Product:
        """Read a product: name, price and stock.

        Args:
            product_id: The product's id.

        Returns:
            The product; without a price if only its stock is known.

        Raises:
            ProductNotFound: The product is unknown.
        """
        return await (await self._connection.engine()).get_product(product_id)

    async def upsert_product(
        self,
        product_id: Id,
        *,
        name: str,
        price: Decimal | float | str,
        quantity: int | None = None,
    ) -> None:
        """Create a product, or change its name and price. Placed orders keep theirs.

        Args:
            product_id: The product's id.
            name: Display name.
            price: Price of one unit in the configured currency, from 0 to below 10^15, at most four
                decimals. A float stands for the digits that Python prints.
            quantity: Initial stock in units. Ignored if the stock is already known; then use
                `set_stock`.

        Raises:
            InvalidInput: A price or a quantity out of range.
        """
        await (await self._connection.engine()).upsert_product(
            product_id, name=name, price=price, quantity=quantity
        )

    async def set_stock(self, product_id: Id, quantity: int) -> None:
        """Set the stock of a product, as an `inventory.updated` event would.

        The number includes units that are reserved by placed orders. A lower number than before is
        taken as the product service's deduction for those orders, oldest first, so that they are
        not deducted twice.

        Args:
            product_id: The product's id. Through this API a product without a price cannot be
                ordered.
            quantity: Units in stock, 0 or more.

        Raises:
            InvalidInput: A quantity out of range.
        """
        await (await self._connection.engine()).set_stock(product_id, quantity)

    async def apply_event(
        self,
        routing_key: str,
        body: bytes | str | Mapping[str, object] | Sequence[object],
        *,
        correlation_id: str | None = None,
        message_id: str | None = None,
        redelivered: bool = False,
    ) -> None:
        """Apply a message that your own consumer received, all of it or nothing.

        Users, products and stock are read as by the engine's own consumer. A message that was
        applied before, here or there, is ignored: it is recognized by its message id, or, if it
        has none, by its body when the broker marks it as redelivered.

        Args:
            routing_key: Routing key of the message, such as `user.registered`.
            body: The JSON, or the dict or list that it stands for.
            correlation_id: Correlation id of the message. With `inventory.updated` it names the
                order.
            message_id: Message id; in pika `properties.message_id`.
            redelivered: Whether the broker may have delivered the message before; in pika
                `method.redelivered`.

        Raises:
            InvalidInput: The message cannot be decoded, or a value is out of range.
            Conflict: The message has no id and the engine's own consumer is running: the same
                message arrives there, and a duplicate could not be recognized.
        """
        await (await self._connection.engine()).apply_event(
            routing_key,
            body,
            correlation_id=correlation_id,
            message_id=message_id,
            redelivered=redelivered,
        )

    async def execute(
        self,
        query: str,
        variables: Mapping[str, object] | None = None,
        operation_name: str | None = None,
        token: str | None = None,
        headers: Headers | None = None,
    ) -> dict[str, Any]:
        """Execute a GraphQL request in this process, as the HTTP endpoint would.

        Args:
            query: The GraphQL document.
            variables: Values of its variables.
            operation_name: The operation to execute, if the document has several.
            token: The JWT for `Authorization: Bearer`.
            headers: Headers of the request; `Authorization` and `Idempotency-Key` are used.

        Returns:
            The response with `data`, `errors` or both. An invalid token or document is reported in
            `errors`, not raised.

        Raises:
            InvalidInput: Text that is not valid, variables that JSON cannot express, or a malformed
                header.
            Misconfigured: No contract with GraphQL is served, or no secret is set.
        """
        return await (await self._connection.engine()).execute(
            query, variables, operation_name, token, headers
        )

    async def handle_http(
        self,
        method: str,
        target: str,
        headers: Headers,
        body: bytes | None = None,
        client: str | None = None,
    ) -> HttpResponse:
        """Answer an HTTP request that another server received.

        `order_engine.wsgi`, `order_engine.asgi` and `order_engine.flask` do this for whole apps.

        Args:
            method: `GET`, `POST` and so on.
            target: Path and query, percent-encoded; the path starts with `/`.
            headers: Headers of the request.
            body: Body of the request. More than 1 MiB is refused.
            client: Address of the client, for rate limits and `*_auth_networks`.

        Returns:
            Status, headers, body. A streamed body is in `stream`; see `next_chunk`.

        Raises:
            InvalidInput: The arguments are not an HTTP request.
            Misconfigured: No secret is set to verify tokens with.
        """
        return await (await self._connection.engine()).handle_http(
            method, target, headers, body, client
        )

    async def next_chunk(self, stream: ResponseStream) -> bytes | None:
        """Wait for the next chunk of a streamed body.

        Args:
            stream: The `stream` of a response.

        Returns:
            The chunk; None at the end.
        """
        return await (await self._connection.engine()).next_chunk(stream)

    async def open_websocket(self, headers: Headers, client: str | None = None) -> WebSocket | None:
        """Open the engine's side of a WebSocket on `/graphql` that another server holds.

        Args:
            headers: Headers of the upgrade request.
            client: Address of the client.

        Returns:
            The socket; None if the client offers no GraphQL protocol. Then refuse the connection.
        """
        return await (await self._connection.engine()).open_websocket(headers, client)

    async def health(self) -> list[Check]:
        """Check the parts that the engine uses: database, brokers, caches.

        Returns:
            One entry for each part.
        """
        return await (await self._connection.engine()).health()


class AsyncEventOperations:
    """The operations of `AsyncOrderEngine.events`."""

    def __init__(self, connection: AsyncConnection) -> None:

        self._connection = connection

    async def tail(self, *, order_id: Id | None = None, limit: int = 20) -> list[Event]:
        """List the latest events and the delivery state of their messages, oldest first.

        Args:
            order_id: Only events of this order.
            limit: Number of events, 1 to 1,000.

        Returns:
            The events.

        Raises:
            InvalidInput: A limit out of range.
        """
        return await (await self._connection.engine()).events_tail(order_id=order_id, limit=limit)

    async def dead_letters(self, *, limit: int = 100) -> list[DeadLetter]:
        """List the messages that could not be published or applied, oldest first.

        Args:
            limit: Number of messages, 1 to 1,000.

        Returns:
            The messages, each with the reason.

        Raises:
            InvalidInput: A limit out of range.
        """
        return await (await self._connection.engine()).events_dead_letters(limit=limit)

    async def retry(self, ids: Iterable[int] | None = None) -> int:
        """Publish or apply dead letters again. Their attempts are counted anew.

        Args:
            ids: The messages' numbers; all of them by default.

        Returns:
            Number of messages.

        Raises:
            NotFound: One of the ids is not a dead letter; nothing was changed.
            InvalidInput: An incoming message still cannot be decoded; it stays a dead letter.
        """
        return await (await self._connection.engine()).events_retry(ids)

    async def skip(self, ids: Iterable[int]) -> int:
        """Discard dead letters for good, so that the messages behind them are published.

        Args:
            ids: The messages' numbers.

        Returns:
            Number of messages.

        Raises:
            NotFound: One of the ids is not a dead letter; nothing was changed.
        """
        return await (await self._connection.engine()).events_skip(ids)

    async def replay(
        self,
        *,
        contract: str | None = None,
        order_ids: Iterable[Id] | None = None,
        since: datetime | timedelta | None = None,
        until: datetime | timedelta | None = None,
        after: str | None = None,
        rate_per_s: int = 1000,
        dry_run: bool = False,
    ) -> ReplayProgress:
        """Publish past events again, for example after a queue was lost.

        The messages are rebuilt from the history with their original ids, and carry the header
        `x-replay: true`. They are sent in the order of each order's versions, oldest orders first,
        before live events that are still waiting. A message that is still waiting is not sent
        twice. Repeating a replay is safe: it sends the same messages again.

        The call pauses whenever 1,000 of its messages are waiting.

        Args:
            contract: Only for the consumers of this contract, which must be enabled.
            order_ids: Only events of these orders.
            since: Only events from this time on: an aware datetime, or a timedelta before now.
            until: Only events before this time; now by default.
            after: The `cursor` of an interrupted replay, to resume it.
            rate_per_s: Messages written to the outbox per second, 1 to 100,000.
            dry_run: Only count the messages.

        Returns:
            Number of events and messages, and of messages that still wait.

        Raises:
            InvalidInput: A wrong argument, or `until` is not after `since`.
            Unavailable: No message was published for a minute: no relay is running, or each order
                has a dead letter. `context["cursor"]` is the place to resume at.
        """
        return await (await self._connection.engine()).events_replay(
            contract=contract,
            order_ids=order_ids,
            since=since,
            until=until,
            after=after,
            rate_per_s=rate_per_s,
            dry_run=dry_run,
        )
