"""The raw numbers of a run, and their file."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.measurement import Measurement
from bench.plan import Plan

FILE = Path(__file__).parent.parent / "target" / "bench" / "latest.json"


@dataclass(frozen=True)
class Results:
    """The results of a run."""

    taken_at: str
    """When it ended, in UTC."""
    machine: dict[str, str]
    plan: Plan
    rounds: list[list[Measurement]]

    def save(self, path: Path = FILE) -> None:
        """Writes the file; creates its folder if necessary."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def load(path: Path = FILE) -> Results:
    """Reads the results of a run.

    Raises:
        BenchError: there is no such file, or another version wrote it.
    """
    try:
        raw = json.loads(path.read_text())
        # JSON has no tuples.
        plan: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in raw["plan"].items()
        }
        raw["plan"] = Plan(**plan)
        raw["rounds"] = [[Measurement(**one) for one in each] for each in raw["rounds"]]
        return Results(**raw)
    except FileNotFoundError:
        raise BenchError(f"{path} is missing: run the benchmark first") from None
    except (ValueError, TypeError, KeyError) as error:
        raise BenchError(f"{path} is not what this version writes: {error}") from error
