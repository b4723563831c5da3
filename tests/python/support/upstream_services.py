"""A process that simulates the user and the product service, controlled by a test."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.python.support.recorder_process import RecorderProcess
from tests.services import Workspace
from tests.services.ports import free_port

Kind = Literal[
    "status",  # answers with `status`
    "slow",  # answers well, `delay_s` late
    "hang",  # never answers
    "trickle",  # answers a byte at a time, without end
    "cut",  # hangs up in the middle of the answer
    "huge",  # declares 10 GB, and sends them
    "endless",  # declares no length, and sends without end
    "redirect",  # answers 302; where it points to, the good answer is given
    "html",  # answers 200 with a page
    "garbage",  # answers 200 with half of a JSON document
    "other id",  # answers well, but of another user or product
]


@dataclass(frozen=True)
class Call:
    """A request as the services got it; `at_s` is of `time.monotonic`."""

    method: str
    path: str
    headers: dict[str, str]
    """By their names in small letters."""
    body: str
    connection: int
    """The same number for calls on one connection."""
    at_s: float


class UpstreamServices(RecorderProcess):
    """Both services on one port, which is the same after a restart.

    They know the users and products that a test adds, and respond correctly until it adds a fault.
    Changes take effect with the next call and survive restarts.
    """

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        """Starts nothing yet."""
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.users_url = f"{self.url}/users"
        self.products_url = f"{self.url}/products"
        self.graphql_url = f"{self.url}/graphql"
        self._state_file = folder / f"upstream-{self.port}.json"
        self._products: dict[str, dict[str, object]] = {}
        self._users: set[str] = set()
        self._tokens: set[str] = set()
        self._bare = False
        self._faults: list[dict[str, object]] = []
        self._faults_ever = 0
        self._tell()
        program = [sys.executable, "-m", "tests.python.support.upstream_server", str(self.port)]
        record = folder / f"upstream-{self.port}.jsonl"
        super().__init__(workspace, record, *program, str(self._state_file))

    def set_product(self, product_id: str, *, price: object = 9.5, stock: object = 100) -> None:
        """Adds a product; price and stock may be invalid."""
        self._products[product_id] = {"price": price, "stock": stock}
        self._tell()

    def remove_product(self, product_id: str) -> None:
        """Has the product service forget a product."""
        del self._products[product_id]
        self._tell()

    def add_user(self, user_id: str) -> None:
        """Adds a user."""
        self._users.add(user_id)
        self._tell()

    def accept_token(self, token: str) -> None:
        """Has the GraphQL of the product service answer the bearer of a token; it has no other."""
        self._tokens.add(token)
        self._tell()

    def answer_bare(self) -> None:
        """Has REST answer with the product itself, not with it as the `result`."""
        self._bare = True
        self._tell()

    def misbehave(
        self,
        kind: Kind,
        *,
        calls: int | None = None,
        path: str = "/",
        status: int = 500,
        delay_s: float = 0.5,
    ) -> None:
        """Has the next `calls` (none: all) whose path begins with `path` go wrong.

        Earlier faults that are not used up come first.
        """
        self._faults_ever += 1
        fault = {"kind": kind, "calls": calls, "path": path, "status": status, "delay_s": delay_s}
        self._faults.append({"number": self._faults_ever, **fault})
        self._tell()

    def behave(self) -> None:
        """Ends all faults."""
        self._faults.clear()
        self._tell()

    def calls(self, path: str = "/") -> list[Call]:
        """Returns the calls so far whose path begins with `path`, in their order."""
        calls = [Call(**each) for each in self.records() if "method" in each]
        return [call for call in calls if call.path.startswith(path)]

    def bytes_until_left(self) -> list[int]:
        """Returns how much was sent to each client that left before its answer was complete."""
        return [each["sent_bytes"] for each in self.records() if "left" in each]

    def _tell(self) -> None:
        state: dict[str, Any] = {
            "products": self._products,
            "users": sorted(self._users),
            "tokens": sorted(self._tokens),
            "bare": self._bare,
            "faults": self._faults,
        }
        # In one step: the file may be read at any moment.
        written = self._state_file.with_suffix(".new")
        written.write_text(json.dumps(state))
        written.rename(self._state_file)
