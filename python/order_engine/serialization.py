"""JSON of results."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal


def json_default(value: object) -> object:
    """Convert what `json` cannot write; pass it as `default`.

    Results become objects, amounts become text such as `"9.50"`, times become ISO 8601 text.

    Example:
        >>> import json
        >>> from decimal import Decimal
        >>> json.dumps({"total": Decimal("9.50")}, default=json_default)
        '{"total": "9.50"}'

    Raises:
        TypeError: Neither a result nor a value in one.
    """
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    to_dict = getattr(value, "to_dict", None)
    if callable(to_dict):
        converted: object = to_dict()
        return converted
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
