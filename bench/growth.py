"""The command `python -m bench.growth`: performance by number of orders, messages, and time."""

from __future__ import annotations

import argparse
import json
import secrets
import signal
import statistics
import sys
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.services import ServiceError, Workspace

from bench import document, engine, load, relay, soak
from bench.consumer import Consumer
from bench.counted_loads import CountedLoads
from bench.errors import BenchError
from bench.http_client import HttpClient
from bench.population import Population, populated
from bench.requests import write
from bench.servers import Servers
from bench.tables import decimal, ratios, spread, table, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from bench.target import Target

FILE = Path(__file__).parent.parent / "target" / "bench" / "growth.json"
SIZES = (10_000, 1_000_000)
MOST = 10_000_000
CONNECTIONS = 16
PLACE = "place"
LOOKED_AT = {
    "memory_mb": "memory of the engine, MB",
    "waiting": "messages waiting",
    "table_mb orders": "table orders, MB",
    "index_mb orders": "its indexes, MB",
    "table_mb outbox": "table outbox, MB",
    "index_mb outbox": "its index, MB",
    "dead outbox": "dead rows of outbox",
    "table_mb products": "table products, MB",
}
# With a short one for comparison.
BACKLOGS = (10_000, 1_000_000)
BACKLOG_RATES = ("messages", "per_second", "first_tenth_per_second", "last_tenth_per_second")
RELAY_FLOOR_PER_SECOND = 1_000

Rounds = list[dict[str, list[float]]]
"""For each round and operation, the rates by number of orders."""


def main() -> int:
    """Parses the command line and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=int, default=3, help="of each measurement (default: %(default)s)"
    )
    parser.add_argument("--most", action="store_true", help=f"with {whole(MOST)} orders, too")
    parser.add_argument(
        "--backlog",
        type=int,
        default=BACKLOGS[-1],
        help="messages that the relay finds (default: %(default)s)",
    )
    parser.add_argument(
        "--minutes", type=float, default=2.0, help="of the soak (default: %(default)s)"
    )
    parser.add_argument(
        "--write",
        type=Path,
        metavar="DOCUMENT",
        help="put the tables into this document, and draw plots beside it",
    )
    parser.add_argument(
        "--soak", action="store_true", help="measure only the soak anew, at the last run's rate"
    )
    parser.add_argument(
        "--again", action="store_true", help="take the numbers of the last run, measure nothing"
    )
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, leave)
    try:
        found = found_by(given)
        FILE.parent.mkdir(parents=True, exist_ok=True)
        FILE.write_text(json.dumps(found, indent=1) + "\n")
        text = render(found)
        sys.stdout.write(text)
        if given.write:
            # Only plotting needs matplotlib.
            from bench import plots  # noqa: PLC0415

            drawn = plots.draw_growth(found, document.folder_of_plots(given.write))
            document.write(given.write, text + plots.links(drawn), document.GROWTH)
    except (BenchError, ServiceError) as error:
        sys.stderr.write(f"growth: {error}\n")
        return 1
    except FileNotFoundError:
        sys.stderr.write(f"growth: {FILE} is missing: measure first\n")
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


def leave(number: int, _frame: FrameType | None) -> None:
    """Exits on a signal, so that the servers are stopped as well."""
    raise SystemExit(128 + number)


def found_by(given: argparse.Namespace) -> dict[str, Any]:
    """Runs the requested measurements; the others come from the last run.

    Raises:
        BenchError: something failed, or the numbers are not valid.
        ServiceError: a server or an engine did not start.
        FileNotFoundError: there was no last run.
    """
    if given.again or given.soak:
        last: dict[str, Any] = json.loads(FILE.read_text())
        return last if given.again else last | soaked_again(given, last)
    load.find_wrk()
    sizes = (*SIZES, MOST) if given.most else SIZES
    with populations_of(sizes) as (populations, folder, consumer):
        rounds = _rounds(populations, folder, consumer, given)
        backlogs = [
            _drain(populations[0], consumer, backlog) for backlog in (BACKLOGS[0], given.backlog)
        ]
        soaked = _soak(populations[-1], folder, rounds, given.minutes)
    return {
        "engine": f"{engine.version()}, Cargo profile {engine.profile()}",
        "sizes": sizes,
        "rounds": rounds,
        "backlogs": backlogs,
        "soak": soaked,
    }


def soaked_again(given: argparse.Namespace, last: dict[str, Any]) -> dict[str, Any]:
    """Repeats the soak with the last run's number of orders and rate."""
    with populations_of(last["sizes"][-1:]) as (populations, folder, _):
        return {"soak": _soak(populations[-1], folder, last["rounds"], given.minutes)}


@contextmanager
def populations_of(sizes: tuple[int, ...]) -> Iterator[tuple[list[Population], Path, Consumer]]:
    """Creates the databases and their engines, one after the other.

    Raises:
        ServiceError: a server or an engine did not start.
    """
    secret = secrets.token_hex(32)
    with Workspace() as workspace, ExitStack() as stack:
        servers = Servers(workspace)
        servers.start()
        site = stack.enter_context(servers.site())
        consumer = stack.enter_context(closing(Consumer(site.rabbitmq_url)))
        populations = []
        for orders in sizes:
            _log(f"making {whole(orders)} orders")
            populations.append(
                stack.enter_context(
                    populated(workspace, servers, site.rabbitmq_url, orders, secret)
                )
            )
        yield populations, workspace.folder, consumer


def _rounds(
    populations: list[Population], folder: Path, consumer: Consumer, given: argparse.Namespace
) -> Rounds:
    """Sends the same requests to all engines in each round."""
    files = [_files(population, folder) for population in populations]
    rounds: Rounds = []
    for number in range(1, given.rounds + 1):
        _log(f"round {number} of {given.rounds}")
        counted = CountedLoads(folder, consumer, {}, seconds=given.seconds, seed=number)
        found: dict[str, list[float]] = {}
        for operation in files[0]:
            measure_one = counted.place if operation == PLACE else counted.ask
            rates = [0.0] * len(populations)
            # Alternate the order, so that no engine always comes first.
            turns = list(enumerate(populations))[:: 1 if number % 2 else -1]
            for index, population in turns:
                rates[index] = _rate(population, files[index][operation], counted, measure_one)
            found[operation] = rates
            _log(f"  {operation}: {', '.join(whole(rate) for rate in rates)}")
        rounds.append(found)
    return rounds


def _rate(
    population: Population,
    file: Path,
    counted: CountedLoads,
    measure_one: Callable[[Target, Path, int], dict[str, float]],
) -> float:
    counted.check(population.target, file)
    return measure_one(population.target, file, CONNECTIONS)["per_second"]


def _files(population: Population, folder: Path) -> dict[str, Path]:
    """The requests of each operation; placing comes last, because it adds rows."""
    asked = {"read": population.reads()} | population.lists() | {PLACE: population.placements()}
    files = {}
    for operation, requests in asked.items():
        files[operation] = folder / f"{population.orders} {operation}.requests"
        write(files[operation], requests)
    return files


def _drain(population: Population, consumer: Consumer, backlog: int) -> dict[str, float]:
    """Fills the outbox while no relay runs, and measures how it is drained."""
    _log(f"draining {whole(backlog)} messages")
    population.engine.stop()
    population.paused.start()
    with closing(HttpClient(population.paused.port)) as client:
        client.post(population.placements()[0])
    population.paused.stop()
    orders = population.target.orders
    orders.fill_outbox(backlog)
    timeout_s = 60 + backlog / RELAY_FLOOR_PER_SECOND
    return relay.drain(population.engine, consumer, orders, timeout_s)


def _soak(population: Population, folder: Path, rounds: Rounds, minutes: float) -> dict[str, Any]:
    rate = statistics.median(each[PLACE][-1] for each in rounds) / 2
    _log(f"placing {whole(rate)} orders/s for {minutes:g} minutes")
    requests = folder / "soak.requests"
    write(requests, population.placements())
    soaked = soak.run(population, requests, per_second=rate, minutes=minutes)
    return {"per_second": rate, "minutes": minutes} | soaked


def render(found: dict[str, Any]) -> str:
    """Returns the tables."""
    sizes, rounds = found["sizes"], found["rounds"]
    heading = ["", *(f"{whole(size)} orders, requests/s" for size in sizes)]
    heading += [f"{whole(size)} ÷ {whole(sizes[0])}" for size in sizes[1:]]
    rows = []
    for operation in rounds[0]:
        rates = [[each[operation][index] for each in rounds] for index in range(len(sizes))]
        cells = [spread(one, whole) for one in rates]
        cells += [spread(ratios(one, rates[0]), decimal) for one in rates[1:]]
        rows.append((operation, *cells))
    backlogs = [
        (
            *map(whole, (one[name] for name in BACKLOG_RATES)),
            decimal(one["first_after_s"]),
        )
        for one in found["backlogs"]
    ]
    backlog_heading = (
        "messages waiting",
        "sent per second",
        "of the first tenth",
        "of the last tenth",
        "first one after the start, s",
    )
    soaked = found["soak"]
    title = f"{soaked['minutes']:g} minutes at {whole(soaked['per_second'])} orders/s"
    parts = [
        f"**As it grows** ({found['engine']}, {CONNECTIONS} connections)",
        table(heading, rows),
        table(backlog_heading, backlogs),
        f"**{title}**: at its beginning, in its middle, at its end",
        table(("", "beginning", "middle", "end"), _soak_rows(soaked)),
    ]
    return "\n\n".join(parts) + "\n"


def _soak_rows(soaked: dict[str, Any]) -> list[tuple[str, ...]]:
    looks, seconds = soaked["looks"], [one for one in soaked["seconds"] if one]
    rows = []
    for name, words in LOOKED_AT.items():
        at = (looks[0], looks[len(looks) // 2], looks[-1])
        rows.append((words, *(decimal(look[name]) for look in at)))
    third = max(1, len(seconds) // 3)
    thirds = (seconds[:third], seconds[third : 2 * third], seconds[-third:])
    for name in ("p50_ms", "p99_ms"):
        medians = (statistics.median(one[name] for one in part) for part in thirds)
        words = f"{name.removesuffix('_ms')} of a second, ms (median of a third)"
        rows.append((words, *map(decimal, medians)))
    return rows


def _log(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
