"""The folder `.order-engine/`: the embedded database and the secrets of a local engine."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from order_engine.exceptions import Misconfigured

DEFAULT_FOLDER = Path(".order-engine")


def open_folder(folder: Path) -> Path:
    """Create the folder if it is missing, ignored by git, and return its absolute path.

    Raises:
        Misconfigured: It cannot be created or written to.
    """
    try:
        folder.mkdir(exist_ok=True)
        # It contains secrets and a database, which must not be committed.
        (folder / ".gitignore").write_text("*\n")
    except OSError as error:
        raise Misconfigured(
            f"The folder {folder.absolute()} cannot be used: {error.strerror}. "
            "Start in a folder that you can write to, or set DATABASE_URL."
        ) from error
    return folder.resolve()


def secret(path: Path) -> str:
    """Return the secret stored in a file, creating one of 256 random bits on the first call.

    Only the owner can read the file. It is written atomically.

    Raises:
        Misconfigured: The file cannot be read or created.
    """
    try:
        if not path.exists():
            _write_secret(path, secrets.token_urlsafe(32))
        return path.read_text().strip()
    except OSError as error:
        raise Misconfigured(
            f"The secret file {path} cannot be used: {error.strerror}. "
            "Start as the user who owns it."
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
    """Flush a folder to disk, so that new files in it survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
