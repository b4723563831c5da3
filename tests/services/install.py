"""Installs what the tests need and this machine lacks: Debian or Ubuntu packages, Kafka's jars."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tests.services import kafka, postgresql, rabbitmq, redis
from tests.services.errors import MissingServiceError

# Nothing that is installed here may start: the tests use private servers, and the standard ports
# belong to the machine's owner. The policy file prevents the packages from starting their servers
# now, the configuration prevents PostgreSQL from creating a cluster, and `disable` prevents a start
# with the machine.
INSTALL = """
set -eu
policy=/usr/sbin/policy-rc.d
clusters=/etc/postgresql-common/createcluster.conf
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\\nexit 101\\n' > "$policy"
    chmod 755 "$policy"
fi
if [ ! -e "$clusters" ]; then
    mkdir -p "${clusters%/*}"
    printf 'create_main_cluster = false\\n' > "$clusters"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -o DPkg::Lock::Timeout=600 update
apt-get -o DPkg::Lock::Timeout=600 install --yes --no-install-recommends "$@"
if command -v systemctl > /dev/null; then
    for unit in postgresql rabbitmq-server redis-server prometheus epmd.socket; do
        case " $* " in *" ${unit%.socket} "* | *" rabbitmq-server "*)
            systemctl disable "$unit" > /dev/null 2>&1 || true ;;
        esac
    done
fi
"""


def missing_packages(programs: Sequence[str] = ()) -> list[str]:
    """Returns the packages whose programs are missing.

    Args:
        programs: Additional programs; their packages have the same names.
    """
    needed: list[tuple[Callable[[], bool], list[str]]] = [
        (lambda: _found(postgresql.find_binaries), ["postgresql"]),
        (lambda: _found(rabbitmq.find_programs), ["rabbitmq-server"]),
        (lambda: _found(redis.find_program), ["redis-server"]),
        (lambda: _found(kafka.find_java), ["default-jre-headless"]),
        # Fetches Kafka's jars.
        (lambda: _found(kafka.find_jars) or _on_path("mvn"), ["maven"]),
        (_has_browser, _browser_packages()),
        # For promtool, which checks metrics and alerts.
        (lambda: _on_path("promtool"), ["prometheus"]),
        *((partial(_on_path, program), [program]) for program in programs),
    ]
    return [package for is_there, packages in needed if not is_there() for package in packages]


def install(programs: Sequence[str] = ()) -> int:
    """Installs what is missing, including `programs`; returns the exit code."""
    return _install_packages(programs) or _fetch_jars()


def _install_packages(programs: Sequence[str]) -> int:
    missing = missing_packages(programs)
    if not missing:
        return 0
    prefix = [] if os.geteuid() == 0 else ["sudo"]
    if shutil.which("apt-get") is None or (prefix and shutil.which("sudo") is None):
        sys.stderr.write(
            "The tests need these packages, and this account cannot install them:\n"
            f"    apt-get install {' '.join(missing)}\n"
            "(as root; on another distribution, packages with the same programs)\n"
        )
        return 1
    sys.stderr.write(f"installing {', '.join(missing)}\n")
    command = [*prefix, "sh", "-c", INSTALL, "install", *missing]
    if subprocess.run(command, check=False).returncode != 0:
        sys.stderr.write(f"could not install with apt-get: {' '.join(missing)}\n")
        return 1
    if still_missing := missing_packages(programs):
        sys.stderr.write(
            f"installed, but not usable: {', '.join(still_missing)}"
            f" (PostgreSQL {postgresql.OLDEST_VERSION} and Java {kafka.OLDEST_JAVA},"
            " or newer, are needed)\n"
        )
        return 1
    return 0


def _fetch_jars() -> int:
    """Fetches Kafka's jars with Maven, unless they exist."""
    if _found(kafka.find_jars):
        return 0
    sys.stderr.write("fetching the jars of Kafka\n")
    with tempfile.TemporaryDirectory(dir=kafka.POM.parent, prefix="jars-") as folder:
        fetched = Path(folder) / "jars"
        done = subprocess.run(
            [
                *("mvn", "--batch-mode", "--quiet", "--strict-checksums", "-Dstyle.color=never"),
                f"--file={kafka.POM}",
                "dependency:copy-dependencies",
                f"-DoutputDirectory={fetched}",
            ],
            check=False,
        )
        if done.returncode != 0:
            sys.stderr.write("could not fetch the jars of Kafka with Maven; it says why above\n")
            return 1
        shutil.copy(kafka.POM, fetched)
        # In one step, so that a partial folder is never used.
        shutil.rmtree(kafka.JARS, ignore_errors=True)
        fetched.rename(kafka.JARS)
    return 0


def _on_path(program: str) -> bool:
    return shutil.which(program) is not None


def _found(find: Callable[[], object]) -> bool:
    try:
        find()
    except MissingServiceError:
        return False
    return True


def _has_browser() -> bool:
    browsers = ("chromium", "chromium-browser", "google-chrome")
    return any(map(shutil.which, browsers)) and shutil.which("chromedriver") is not None


def _browser_packages() -> list[str]:
    release = Path("/etc/os-release")
    if release.exists() and "ID=ubuntu" in release.read_text().splitlines():
        return ["chromium-browser", "chromium-chromedriver"]
    return ["chromium", "chromium-driver"]
