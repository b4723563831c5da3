"""An engine that is opened when it is first needed, and not by everybody at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from order_engine.engine import OrderEngine
from order_engine.exceptions import Unavailable
from order_engine.native_engine import opening_lock

if TYPE_CHECKING:
    from collections.abc import Mapping

REST_S = 1.0
"""How long nobody tries again after the database could not be reached."""


class Rest:
    """Remembers that opening failed, so that those who come next do not wait for the same."""

    def __init__(self) -> None:
        self._error: Unavailable | None = None
        self._until = 0.0

    def check(self) -> None:
        """Raise again what was raised a moment ago.

        Raises:
            Unavailable: As then.
        """
        if self._error is not None and time.monotonic() < self._until:
            raise Unavailable(self._error.message, self._error.context)

    def begin(self, error: Unavailable) -> None:
        """Rest after this failure."""
        self._error = error
        self._until = time.monotonic() + REST_S


class LazyEngine:
    """An engine with its settings, opened by the first `get` that reaches the database."""

    def __init__(self, settings: Mapping[str, str | float | None]) -> None:
        self._settings = settings
        self._engine: OrderEngine | None = None
        self._rest = Rest()

    def get(self) -> OrderEngine:
        """Give the engine, opened if need be.

        Raises:
            Misconfigured: Settings are missing or wrong.
            Unavailable: The database cannot be reached, or could not a moment ago.
        """
        if self._engine is None:
            with opening_lock():
                if self._engine is None:
                    self._engine = self._opened()
        return self._engine

    def _opened(self) -> OrderEngine:
        self._rest.check()
        try:
            return OrderEngine(**self._settings)  # type: ignore[arg-type]
        except Unavailable as error:
            self._rest.begin(error)
            raise

    def close(self) -> None:
        """Close the engine, if it was opened."""
        if self._engine is not None:
            self._engine.close()
