"""Reads docs/METRICS.md: the metric families and the values of their labels."""

import re
from dataclasses import dataclass
from pathlib import Path

CATALOGUE = Path(__file__).parents[3] / "docs" / "METRICS.md"
QUOTED = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Family:
    """A line of the catalogue."""

    name: str
    """As Prometheus' own format calls it, and every query."""
    kind: str
    labels: frozenset[str]
    unit: str
    meaning: str


def families() -> dict[str, Family]:
    """Returns the families by name."""
    found = {}
    for cells in _rows(5):
        name = QUOTED.fullmatch(cells[0])
        if name is not None:
            labels = frozenset(QUOTED.findall(cells[2]))
            found[name[1]] = Family(name[1], cells[1], labels, *cells[3:])
    return found


def sample_names() -> dict[str, frozenset[str]]:
    """Returns what a query may name, with the labels that it has there."""
    names = {}
    for family in families().values():
        names[family.name] = family.labels
        if family.kind == "histogram":
            names |= {f"{family.name}_{part}": family.labels for part in ("sum", "count")}
            names[f"{family.name}_bucket"] = family.labels | {"le"}
    return names


def label_values() -> dict[str, set[str]]:
    """Returns the values that the catalogue names, by label; errors' codes among the outcomes."""
    values = {}
    for cells in _rows(2):
        if (name := QUOTED.fullmatch(cells[0])) is not None:
            values[name[1]] = set(QUOTED.findall(cells[1]))
    codes = CATALOGUE.read_text().partition("Error codes:")[2]
    values["outcome"] |= set(QUOTED.findall(codes))
    return values


def _rows(columns: int) -> list[list[str]]:
    lines = [line for line in CATALOGUE.read_text().splitlines() if line.startswith("| `")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [cells for cells in rows if len(cells) == columns]
