"""What went wrong, in words that may be kept and shown: without the secrets that errors repeat."""

from __future__ import annotations

import re

SECRETS = (
    # The password of a URL.
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
    """Give a text with what looks like a secret masked."""
    for pattern, replacement in SECRETS:
        text = pattern.sub(replacement, text)
    return text


def reason_of(error: BaseException) -> str:
    """Give the type and the text of an error."""
    kind = type(error)
    name = (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    return masked(f"{name}: {error}" if str(error) else name)
