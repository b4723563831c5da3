"""Skips a test whose programs or packages are not installed."""

import os
from typing import NoReturn

import pytest


def skip_or_fail(reason: str) -> NoReturn:
    """Skips, visibly; fails where CI is set, because there everything must run."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason} (a skip where CI is not set)")
    pytest.skip(reason)
