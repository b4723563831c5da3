"""Settings as Python code gives them: as arguments, or in the configuration of a Flask app."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from order_engine import _native, arguments

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGES = Path(__file__).with_name("static")


def given(values: Mapping[str, object]) -> dict[str, str]:
    """Write settings as the native module takes them; None is one that is not given."""
    return with_pages(arguments.settings(values))


def of_app(config: Mapping[str, object]) -> dict[str, str]:
    """Take from an app's configuration what bears the name of a variable that sets something."""
    return arguments.settings(
        {
            setting: next((config[name] for name in names if config.get(name) is not None), None)
            for setting, names in _native.setting_variables().items()
        }
    )


def has(flags: dict[str, str], name: str) -> bool:
    """Tell whether a setting is given anywhere: flags, environment, `.env`, file, default."""
    return value(flags, name) is not None


def value(flags: dict[str, str], name: str) -> str | None:
    """Give what takes effect for a setting that is no secret."""
    settings = _native.describe_settings(flags)
    return next((setting.value for setting in settings if setting.name == name), None)


def with_pages(flags: dict[str, str]) -> dict[str, str]:
    """Add where this package keeps the pages for people, unless another place is set."""
    if has(flags, "pages_dir"):
        return flags
    return {**flags, "pages_dir": str(PAGES)}
