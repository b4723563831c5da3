"""Checks of arguments in Python code. Those of an engine's operations are checked natively."""

from __future__ import annotations

from typing import TYPE_CHECKING

from order_engine.exceptions import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

INT64_MAX = 2**63 - 1


def text(value: object, name: str) -> str:
    """Return text that can be encoded as UTF-8, which a lone surrogate cannot."""
    if not isinstance(value, str):
        raise InvalidInput(f"{name} must be a str, not {described(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"{name} contains a lone surrogate at position {error.start}, which is not valid text"
        ) from None
    return value


def optional_text(value: object, name: str) -> str | None:
    """Return text or None."""
    return None if value is None else text(value, name)


def integer(value: object, name: str) -> int:
    """Return an int of 64 bits; a bool is none."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidInput(f"{name} must be an int, not {described(value)}")
    if abs(value) > INT64_MAX:
        raise InvalidInput(f"{name} is out of range")
    return value


def settings(given: Mapping[str, object]) -> dict[str, str]:
    """Return settings as text, as the native module takes them; None means not given."""
    return {name: _setting(value, name) for name, value in given.items() if value is not None}


def _setting(value: object, name: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return text(value if isinstance(value, str) else str(value), name)


def described(value: object) -> str:
    """Name a value for a message: a float or bool by its value, all else by its type."""
    kind = type(value).__name__
    return f"{value!r} ({kind})" if isinstance(value, float | bool) else kind
