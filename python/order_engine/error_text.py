"""Texts of a program's errors for logs, dead letters and the engine: no secrets, always UTF-8."""

from __future__ import annotations

import re
import traceback

SECRETS = (
    # Passwords in URLs.
    (re.compile(r"(\w://[^\s/:@]*):[^\s/@]+@"), r"\1:********@"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}"), r"\1 ********"),
    (
        re.compile(
            r"(?i)\b(\w*(?:password|passwd|secret|token|api_?key)['\"]?\s*[=:]\s*)"
            r"(?:'[^']*'|\"[^\"]*\"|[^\s'\",;&]+)"
        ),
        r"\1********",
    ),
)


def masked(text: str) -> str:
    """Return the text with everything that looks like a secret masked."""
    for pattern, replacement in SECRETS:
        text = pattern.sub(replacement, text)
    return text


def encodable(text: str) -> str:
    """Return the text with lone surrogates, which UTF-8 cannot encode, written as escapes."""
    return str.encode(text, "utf-8", "backslashreplace").decode()


def reason_of(error: BaseException) -> str:
    """Return the type and the masked text of an error. Does not fail, whatever the error does."""
    kind = type(error)
    name = (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    text = _text_of(error)
    return encodable(masked(f"{name}: {text}" if text else name))


def traceback_of(error: BaseException) -> str:
    """Return the masked traceback of an error. Does not fail, whatever the error does."""
    try:
        text = "".join(traceback.format_exception(error)).rstrip()
    except BaseException:  # noqa: BLE001 - the attributes of an error may raise anything.
        return reason_of(error)
    return encodable(masked(text))


def _text_of(error: BaseException) -> str:
    try:
        return encodable(str(error))
    except BaseException as failure:  # noqa: BLE001 - `__str__` may raise anything.
        return f"(no text: str() raised {type(failure).__name__})"
