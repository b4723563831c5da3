"""Passes the engine's log records to Python's `logging`, to loggers below `order_engine`.

The native module calls this in a thread of its own. Records that arrive while 4,096 are waiting are
dropped; a warning reports their number.
"""

from __future__ import annotations

import logging
import time

LOGGER = logging.getLogger("order_engine")
LEVEL_MAX = 255


def effective_level() -> int:
    """Return the lowest level that is logged now, 0 to 255."""
    disabled = max(logging.root.manager.disable + 1, 0)
    return min(max(LOGGER.getEffectiveLevel(), disabled), LEVEL_MAX)


def deliver(records: list[tuple[float, str, int, str]], dropped: int) -> None:
    """Pass records to their loggers.

    Args:
        records: Unix time in seconds, logger, level and text of each record.
        dropped: Number of records dropped since the last call.
    """
    if dropped:
        _handle(
            time.time(),
            LOGGER.name,
            logging.WARNING,
            f"{dropped} log records were dropped because logging was too slow",
        )
    for created, name, level, text in records:
        _handle(created, name, level, text)


def _handle(created: float, name: str, level: int, text: str) -> None:
    logger = logging.getLogger(name)
    if not logger.isEnabledFor(level):
        return
    # Not with `makeRecord`, which sets the time to now.
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
