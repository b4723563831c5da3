"""A closed-loop load by wrk."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError

SCRIPT = Path(__file__).with_name("load.lua")
TIMEOUT_S = 5
GRACE_S = 30


@dataclass(frozen=True)
class Load:
    """The counts and latencies that wrk reports."""

    requests: int
    values: dict[str, float]


def find_wrk() -> str:
    """Returns where wrk is.

    Raises:
        BenchError: it is not installed.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise BenchError("wrk is not installed: apt-get install wrk")
    return wrk


def run(port: int, requests: Path, *, connections: int, seconds: int, seed: int) -> Load:
    """Keeps `connections` busy: each sends its next request after the last response.

    Raises:
        BenchError: wrk failed, or a request failed in transport or with an HTTP error.
    """
    command = [
        find_wrk(),
        # One thread sends more requests than the other core can serve.
        "--threads=1",
        f"--connections={connections}",
        f"--duration={seconds}s",
        f"--timeout={TIMEOUT_S}s",
        f"--script={SCRIPT}",
        f"http://127.0.0.1:{port}/graphql",
        "--",
        str(requests),
        str(seed),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds + GRACE_S, check=False
    )
    if done.returncode != 0:
        raise BenchError(f"wrk ended with {done.returncode}: {done.stdout}{done.stderr}")
    counted = json.loads(done.stdout.splitlines()[-1])
    if counted["failed"] or not counted["requests"]:
        raise BenchError(f"a load of {connections} connections failed: {done.stdout}")
    values = {"per_second": counted["requests"] / counted["duration_us"] * 1e6}
    values |= {f"{name}_ms": counted[f"{name}_us"] / 1e3 for name in ("p50", "p90", "p99", "max")}
    return Load(counted["requests"], values)
