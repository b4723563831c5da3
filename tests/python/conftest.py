"""Loads the fixtures, which are grouped by subject, and shows server logs with failures.

A missing program is a visible skip, and a failure if CI is set.
"""

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.python.support.servers import LOGGED_SERVERS

pytest_plugins = [
    f"tests.python.fixtures.{name}"
    for name in ("servers", "engines", "contracts", "consumers", "legacy")
]

LOG_LINES = 60
FOLDER = Path(__file__).parent
# Tests that measure time or load the whole machine. `make test` runs the others in three processes.
SERIAL = (
    "api/test_short_reads",
    "migration/test_adopt_live",
    "performance/",
    "security/test_attacks_floods",
    "security/test_attacks_load",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of `SERIAL`."""
    for item in items:
        if item.path.relative_to(FOLDER).as_posix().startswith(SERIAL):
            item.add_marker(pytest.mark.serial)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Appends the last lines of the servers' logs to a failure."""
    report = yield
    if report.failed:
        for server in [
            each for node in item.listchain() for each in node.stash.get(LOGGED_SERVERS, [])
        ]:
            lines = server.log().splitlines()[-LOG_LINES:]
            report.sections.append((f"log of the {server.NAME} at {server.url}", "\n".join(lines)))
    return report
