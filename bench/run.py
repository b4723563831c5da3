"""A run: starts the servers, runs the rounds, and reports progress."""

import datetime as dt
import secrets
import sys
from contextlib import closing
from functools import partial

from tests.services import Workspace

from bench import engine, load, machine
from bench.consumer import Consumer
from bench.measurement import Measurement
from bench.plan import Plan
from bench.results import Results
from bench.round import Round
from bench.servers import Servers

PROFILE = "release"


def measure(plan: Plan) -> Results:
    """Starts the servers and runs all rounds.

    Raises:
        BenchError: something is missing or failed, or the numbers are not valid.
        ServiceError: a server is not installed or did not start.
    """
    load.find_wrk()
    if engine.profile() != PROFILE:
        _log(f"WARNING: the engine is of profile {engine.profile()}: `make bench` builds {PROFILE}")
    machine_facts: dict[str, str] = {}
    rounds: list[list[Measurement]] = []
    secret = secrets.token_hex(32)
    with Workspace() as workspace:
        servers = Servers(workspace)
        servers.start()
        for number in range(1, plan.rounds + 1):
            _log(f"round {number} of {plan.rounds}")
            with servers.site() as site, closing(Consumer(site.rabbitmq_url)) as consumer:
                machine_facts = machine_facts or machine.describe(
                    workspace.folder, site.connection, consumer.server_version
                )
                rounds.append([])
                Round(
                    workspace,
                    servers,
                    site,
                    plan,
                    number=number,
                    consumer=consumer,
                    secret=secret,
                    note=partial(_note, rounds[-1]),
                ).measure()
    now = dt.datetime.now(dt.timezone.utc)
    return Results(now.strftime("%Y-%m-%d %H:%M UTC"), machine_facts, plan, rounds)


def _note(noted: list[Measurement], one: Measurement) -> None:
    noted.append(one)
    values = ", ".join(f"{name} {value:,.2f}" for name, value in one.values.items())
    at = f" at {one.connections}" if one.connections else ""
    _log(f"  {one.operation}{at}: {one.subject}: {values}")


def _log(text: str) -> None:
    sys.stderr.write(f"{text}\n")
