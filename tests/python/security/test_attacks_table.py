"""docs/RELIABILITY.md: each row of the attack table names existing tests, or a reason for none."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "RELIABILITY.md"
NAMED = re.compile(r"`((?:tests|src)/[\w/.]+)(?:::(\w+))?`")
ROWS = [f"C{number}" for number in range(1, 39)]


def rows() -> dict[str, list[str]]:
    """The cells of each row of the table."""
    lines = (line for line in DOCUMENT.read_text().splitlines() if line.startswith("| C"))
    cells = ([cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines)
    return {first: rest for first, *rest in cells}


def test_no_row_is_missing() -> None:
    assert list(rows()) == ROWS


@pytest.mark.parametrize("row", ROWS)
def test_every_row_names_tests_or_a_reason(row: str) -> None:
    _, answer, tested = rows()[row]
    assert NAMED.search(tested) or answer.startswith("not applicable: ")


def test_every_named_test_exists() -> None:
    named = NAMED.findall(DOCUMENT.read_text())
    assert named
    for path, name in named:
        file = ROOT / path
        assert file.exists(), path
        if name:
            assert re.search(rf"\b(def|fn) {name}\(", file.read_text()), f"{path}::{name}"


def test_a_test_named_after_a_row_is_listed_in_it() -> None:
    """A test that is named after a row is listed in that row."""
    table = rows()
    for file in (ROOT / "tests" / "python" / "security").glob("test_attacks_*.py"):
        for numbers in re.findall(r"^def test_((?:c\d+_)+)", file.read_text(), re.MULTILINE):
            for number in numbers.strip("_").split("_"):
                assert f"tests/python/security/{file.name}" in table[number.upper()][2], (
                    file.name,
                    number,
                )
