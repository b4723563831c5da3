"""Error texts without secrets, for logs and dead letters."""

from __future__ import annotations

import re

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


def reason_of(error: BaseException) -> str:
    """Return the type and the masked text of an error."""
    kind = type(error)
    name = (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    return masked(f"{name}: {error}" if str(error) else name)
