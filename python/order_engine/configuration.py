"""Settings from Python code: keyword arguments, or the configuration of a Flask app."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from order_engine import _native, arguments

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGES = Path(__file__).with_name("static")
"""The folder with the playground and the page of `/docs`."""


def given(values: Mapping[str, object]) -> dict[str, str]:
    """Convert keyword arguments to settings as text; None means not given."""
    return with_pages(arguments.settings(values))


def of_app(config: Mapping[str, object]) -> dict[str, str]:
    """Return the settings in an app's configuration, which are named as environment variables."""
    return arguments.settings(
        {
            setting.name: next(
                (config[name] for name in setting.variables if config.get(name) is not None), None
            )
            for setting in _native.settings()
        }
    )


def checked(settings: dict[str, str]) -> dict[str, str]:
    """Return the settings if they are valid.

    Raises:
        Misconfigured: A name is unknown or a value is wrong; `problems` lists everything.
    """
    _native.validate_settings(settings, for_server=False)
    return settings


def has(settings: dict[str, str], name: str) -> bool:
    """Return whether a setting has a value: given, from the environment, a file, or by default."""
    return value(settings, name) is not None


def value(settings: dict[str, str], name: str) -> str | None:
    """Return the effective value of a setting that is not a secret."""
    described = _native.describe_settings(settings)
    return next((setting.value for setting in described if setting.name == name), None)


def with_pages(settings: dict[str, str]) -> dict[str, str]:
    """Add the folder of this package's web pages, unless another one is set."""
    if has(settings, "pages_dir"):
        return settings
    return {**settings, "pages_dir": str(PAGES)}
