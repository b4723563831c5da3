"""The FastAPI application: its endpoint, its connections, and its relay."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

import asyncpg
from fastapi import FastAPI
from strawberry.fastapi import GraphQLRouter

import relay
from schema import Caller, schema

# Of each of the two processes.
CONNECTIONS = 10


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Opens the pool and keeps the relay going."""
    # One more for the relay.
    pool = await asyncpg.create_pool(
        os.environ["DATABASE_URL"], min_size=CONNECTIONS + 1, max_size=CONNECTIONS + 1
    )
    app.state.pool = pool
    app.state.relay = relay.Relay(pool, os.environ["RABBITMQ_URL"])
    sending = asyncio.create_task(app.state.relay.run())
    yield
    sending.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await sending
    await pool.close()


app = FastAPI(lifespan=lifespan)
app.include_router(GraphQLRouter(schema, context_getter=Caller), prefix="/graphql")


@app.get("/healthz")
async def healthz() -> str:
    """Whether it serves."""
    return "ok"
