"""The folder `.order-engine/`: what an engine without a database of its own keeps between runs."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from order_engine.exceptions import Misconfigured

DEFAULT_FOLDER = Path(".order-engine")


def open_folder(folder: Path) -> Path:
    """Make the folder if it is missing, ignored by git, and return its absolute path.

    Raises:
        Misconfigured: It cannot be made or written to.
    """
    try:
        folder.mkdir(exist_ok=True)
        # Secrets and a database lie here: nobody should commit them by accident.
        (folder / ".gitignore").write_text("*\n")
    except OSError as error:
        raise Misconfigured(
            f"The folder {folder.absolute()} cannot be used: {error.strerror}. "
            "Start in a folder you can write to, or set DATABASE_URL."
        ) from error
    return folder.resolve()


def secret(path: Path) -> str:
    """Read the secret kept in a file, making one of 256 random bits on the first call.

    The file can be read by its owner only, and either has the whole secret or does not exist.

    Raises:
        Misconfigured: The file cannot be read or made.
    """
    try:
        if not path.exists():
            _write_secret(path, secrets.token_urlsafe(32))
        return path.read_text().strip()
    except OSError as error:
        raise Misconfigured(
            f"The secret kept in {path} cannot be used: {error.strerror}. "
            "Start as the user who made it."
        ) from error


def _write_secret(path: Path, value: str) -> None:
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{value}\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make sure that new names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
