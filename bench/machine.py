"""The machine and the versions of all programs that were measured."""

import os
import platform
import re
import subprocess
from pathlib import Path

import psycopg

from bench import engine, load
from bench.errors import BenchError

DURABILITY = ("fsync", "synchronous_commit", "full_page_writes")


def describe(folder: Path, connection: psycopg.Connection, rabbitmq: str) -> dict[str, str]:
    """Describes the machine; `folder` is where the servers keep their data.

    Raises:
        BenchError: PostgreSQL's durability is off, or the data is kept in memory.
    """
    file_system = _file_system(folder)
    if file_system == "tmpfs":
        raise BenchError(f"{folder} is in memory, so nothing is durable: set TMPDIR to a disk")
    settings = {name: _setting(connection, name) for name in DURABILITY}
    if off := [name for name, value in settings.items() if value != "on"]:
        raise BenchError(f"PostgreSQL runs without {', '.join(off)}; nothing of that is measured")
    memory = re.search(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "processor": _processor(),
        "memory": f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "unknown",
        "system": f"{platform.system()} {platform.release()}, data on {file_system}",
        "load before": f"{os.getloadavg()[0]:.2f} (average of one minute)",
        "engine": f"{engine.version()}, Cargo profile {engine.profile()}, source {_revision()}",
        "PostgreSQL": f"{_setting(connection, 'server_version')}, "
        + ", ".join(f"{name} {value}" for name, value in settings.items()),
        "RabbitMQ": f"{rabbitmq}, publisher confirms",
        "load generator": f"wrk {_wrk_version()}, closed loop; bench/steady.py, open loop",
        "Python": platform.python_version(),
    }


def _setting(connection: psycopg.Connection, name: str) -> str:
    row = connection.execute("select current_setting(%s)", [name]).fetchone()
    return "" if row is None else str(row[0])


def _processor() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _file_system(folder: Path) -> str:
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    above = [mount for mount in mounts if folder.resolve().is_relative_to(mount[1])]
    # Of two mounts at one path, the later one hides the earlier.
    return max(reversed(above), key=lambda mount: len(mount[1]))[2]


def _wrk_version() -> str:
    output = subprocess.run([load.find_wrk(), "-v"], capture_output=True, text=True, check=False)
    return (output.stdout.split() or ["", "unknown"])[1]


def _revision() -> str:
    output = subprocess.run(
        ["git", "describe", "--always", "--dirty"],  # noqa: S607 - whichever git there is
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return output.stdout.strip() or "unknown"
