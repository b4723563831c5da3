"""Runs commands that must fail and returns their error messages."""

import subprocess
import sys
from collections.abc import Mapping

COMMAND_TIMEOUT_S = 60.0


def refusal(env: Mapping[str, str], *command: str) -> str:
    """Runs `order-engine` with a command that must fail, and returns all of its output."""
    done = subprocess.run(
        [sys.executable, "-m", "order_engine", *command],
        env=env,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    reported = done.stdout + done.stderr
    assert done.returncode != 0, reported
    return reported
