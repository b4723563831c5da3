"""Engines that require a token at every API."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import httpx
import pytest

from tests.python.support.attack_target import (
    AttackTarget,
    contract_arguments,
    start_target,
    target_settings,
)
from tests.python.support.engine_process import EngineProcess
from tests.python.support.servers import LOGGED_SERVERS
from tests.services import Redis, Workspace


@pytest.fixture(scope="module")
def make_attack_target(
    request: pytest.FixtureRequest,
    workspace: Workspace,
    shared_places: dict[str, str],
    redis_server: Redis,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., AttackTarget]]:
    """Starts engines with all APIs, each with tokens required, for the tests of a module.

    `make_attack_target("--access", "roles", ORDER_ENGINE_LOG="debug")`.
    """
    redis_server.start()

    with ExitStack() as stack:

        def make(*arguments: str, **env: str) -> AttackTarget:
            contracts, ports = contract_arguments()
            settings = shared_places | target_settings(redis_server.url) | env
            folder = tmp_path_factory.mktemp("attacked")
            server = EngineProcess(workspace, folder, settings, *contracts, *arguments)
            request.node.stash.setdefault(LOGGED_SERVERS, []).append(server)
            stack.callback(server.stop)
            client = stack.enter_context(httpx.Client(trust_env=False))
            opened = start_target(server, ports, client)
            stack.enter_context(closing(opened.database))
            return opened

        yield make


@pytest.fixture(scope="module")
def attack_target(make_attack_target: Callable[..., AttackTarget]) -> AttackTarget:
    """A running engine with all APIs, each with tokens required, for the tests of a module."""
    return make_attack_target()
