"""The engine's records in Python's `logging`, as loggers below `order_engine`.

Called by the native module, on a thread of its own. A record that comes while 4096 wait is
dropped; the next one delivered is preceded by a warning that says how many were.
"""

from __future__ import annotations

import logging
import time

LOGGER = logging.getLogger("order_engine")
LEVEL_MAX = 255


def effective_level() -> int:
    """Give the level from which records are wanted at this moment, 0 to 255."""
    disabled = max(logging.root.manager.disable + 1, 0)
    return min(max(LOGGER.getEffectiveLevel(), disabled), LEVEL_MAX)


def deliver(records: list[tuple[float, str, int, str]], dropped: int) -> None:
    """Hand records to their loggers.

    Args:
        records: Seconds since 1970, logger, level and text of each.
        dropped: How many there was no room for since the last call.
    """
    if dropped:
        _handle(
            time.time(),
            LOGGER.name,
            logging.WARNING,
            f"{dropped} records of the engine were dropped: they came faster than they were logged",
        )
    for created, name, level, text in records:
        _handle(created, name, level, text)


def _handle(created: float, name: str, level: int, text: str) -> None:
    logger = logging.getLogger(name)
    if not logger.isEnabledFor(level):
        return
    # As a mapping: `makeRecord` would set the time to now.
    record = logging.makeLogRecord(
        {
            "name": name,
            "levelno": level,
            "levelname": logging.getLevelName(level),
            "msg": text,
            "created": created,
            "msecs": created % 1 * 1000,
            "threadName": "order-engine",
        }
    )
    logger.handle(record)
