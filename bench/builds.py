"""The command `python -m bench.builds`: compares builds of the engine in alternation."""

import argparse
import secrets
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psycopg
from tests.services import ServiceError, Workspace

from bench import catalogue, load
from bench import measurement as m
from bench.consumer import Consumer
from bench.counted_loads import CountedLoads
from bench.engine import Engine
from bench.errors import BenchError
from bench.growth import leave
from bench.orders import SCHEMA, Orders
from bench.plan import Plan
from bench.requests import Client
from bench.servers import Servers
from bench.tables import decimal, ratios, spread, table, whole
from bench.target import Target

Found = dict[tuple[str, int], dict[str, list[list[float]]]]
"""By operation and number of connections, then by value: the rounds of each build."""
COMPARED = ("per_second", "service_us")


def main() -> int:
    """Parses the command line and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.builds", description=__doc__)
    parser.add_argument(
        "environments",
        type=Path,
        nargs="+",
        metavar="ENVIRONMENT",
        help="a virtual environment with a wheel; the others are compared with the first",
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=int, default=3, help="of each measurement (default: %(default)s)"
    )
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, leave)
    try:
        load.find_wrk()
        found = measure(given.environments, given.rounds, given.seconds)
    except (BenchError, ServiceError) as error:
        sys.stderr.write(f"builds: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    sys.stdout.write(render([each.name for each in given.environments], found))
    return 0


def measure(environments: list[Path], rounds: int, seconds: int) -> Found:
    """Sends the same requests to all builds in each round.

    Raises:
        BenchError: something failed, or the numbers are not valid.
        ServiceError: a server or an engine did not start.
    """
    plan, secret = Plan(), secrets.token_hex(32)
    found: Found = {}
    with Workspace() as workspace, ExitStack() as stack:
        servers = Servers(workspace)
        servers.start()
        site = stack.enter_context(servers.site())
        consumer = stack.enter_context(closing(Consumer(site.rabbitmq_url)))
        builds = [
            stack.enter_context(serving(workspace, servers, site.rabbitmq_url, each, secret))
            for each in environments
        ]
        for number in range(1, rounds + 1):
            sys.stderr.write(f"round {number} of {rounds}\n")
            counted = CountedLoads(workspace.folder, consumer, {}, seconds=seconds, seed=number)
            turns = list(enumerate(builds))
            loads = loads_of(builds, counted, Client(plan, secret, number), plan, number)
            for (operation, connections), ask in loads:
                values = found.setdefault(
                    (operation, connections), {name: [[] for _ in builds] for name in COMPARED}
                )
                # Alternate the order, so that no build always comes first.
                for index, build in turns[:: 1 if number % 2 else -1]:
                    measured = ask(build)
                    for name in COMPARED:
                        values[name][index].append(measured[name])
    return found


@contextmanager
def serving(
    workspace: Workspace, servers: Servers, rabbitmq_url: str, environment: Path, secret: str
) -> Iterator[Target]:
    """Serves a new database with the build of an environment."""
    with servers.database() as url, closing(psycopg.connect(url, autocommit=True)) as connection:
        engine = Engine(
            workspace,
            database_url=url,
            rabbitmq_url=rabbitmq_url,
            secret=secret,
            program=environment.absolute() / "bin" / "order-engine",
        )
        engine.migrate()
        catalogue.fill(connection, SCHEMA, Plan())
        engine.start()
        try:
            yield Target(environment.name, engine, Orders(connection))
        finally:
            engine.stop()


def loads_of(
    builds: list[Target], counted: CountedLoads, client: Client, plan: Plan, number: int
) -> list[tuple[tuple[str, int], Callable[[Target], dict[str, float]]]]:
    """The operations of a round: placing first, so that there are orders to read."""
    many = counted.file("many", client.placements(is_hot=False))
    for build in builds:
        counted.warm_up(build, many)
    reads = {
        build.subject: counted.file(
            f"reads {build.subject}", client.reads(build.orders.choose(plan.requests, number))
        )
        for build in builds
    }

    def placing(connections: int) -> Callable[[Target], dict[str, float]]:
        return lambda build: counted.place(build, many, connections)

    def reading(connections: int) -> Callable[[Target], dict[str, float]]:
        return lambda build: counted.ask(build, reads[build.subject], connections)

    return [
        ((operation, connections), ask(connections))
        for operation, ask in ((m.PLACE, placing), (m.READ, reading))
        for connections in plan.connections
    ]


def render(names: list[str], found: Found) -> str:
    """Returns the table: the first build's numbers, and the ratios of the others to them."""
    heading = ["", "connections", f"{names[0]}, requests/s", f"{names[0]}, µs of the engine"]
    for name in names[1:]:
        heading += [f"{name} ÷ {names[0]}, requests/s", "µs"]
    rows = []
    for (operation, connections), values in found.items():
        cells = [operation, str(connections)]
        cells += [spread(values[value][0], whole) for value in COMPARED]
        for index in range(1, len(names)):
            for value in COMPARED:
                first, other = values[value][0], values[value][index]
                cells.append(spread(ratios(other, first), decimal))
        rows.append(cells)
    return table(heading, rows) + "\n"


if __name__ == "__main__":
    sys.exit(main())
