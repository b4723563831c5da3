"""Calls of a program's functions whose exceptions must not end the thread or task that calls them.

This includes SystemExit, KeyboardInterrupt and CancelledError, which `except Exception` lets pass.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


class Failure(NamedTuple):
    """What a function raised, as a value.

    Args:
        error: The exception.
    """

    error: BaseException


def call(function: Callable[..., T], *arguments: object) -> T | Failure:
    """Call a function and return its result, or what it raised."""
    try:
        return function(*arguments)
    except BaseException as error:  # noqa: BLE001 - returned to the caller.
        return Failure(error)


async def wait_for(work: Awaitable[T]) -> T | Failure:
    """Await something and return its result, or what it raised."""
    try:
        return await work
    except GeneratorExit:
        # This coroutine is being closed; it must not go on.
        raise
    except BaseException as error:  # noqa: BLE001 - returned to the caller.
        return Failure(error)


async def wait_in_task(work: Awaitable[T]) -> T | Failure:
    """Await something in a task of its own, and return its result, or what it raised.

    A CancelledError that `work` raises by itself is a failure. A cancellation of the caller is
    passed on to `work` and raised here, after `work` has ended.
    """
    task = asyncio.ensure_future(wait_for(work))
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait([task])
        raise
    error = task.exception()
    return task.result() if error is None else Failure(error)
