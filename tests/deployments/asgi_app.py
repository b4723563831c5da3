"""The ASGI app, for uvicorn: by itself, and mounted in a Starlette app."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Mount

from order_engine.asgi import OrderEngineApp
from order_engine.asgi import app as engine_app
from tests.deployments.worker import HEADER, worker

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


def naming_worker(inner: Application) -> Application:
    """Adds the header to an application's responses."""

    async def outer(scope: Message, receive: Receive, send: Send) -> None:
        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                header = (HEADER.lower().encode(), worker().encode())
                message = {**message, "headers": [*message["headers"], header]}
            await send(message)

        await inner(scope, receive, send_named)

    return outer


app = naming_worker(engine_app)
mounted = naming_worker(Starlette(routes=[Mount("/shop", app=OrderEngineApp())]))
