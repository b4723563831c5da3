"""The Rust core as Python sees it; `order_engine.OrderEngine` and the command stand on it.

Settings: every `flags` argument is a dict of settings given explicitly, by name, as text
(`{"database_url": "postgresql://…", "port": "5000"}`). The rest is resolved here, from the
environment, then `.env` in the working directory, then `order-engine.toml`, then defaults.
A list is written with commas (`"contract": "flask:5000,jobs"`), a yes or no as `true`, `false`.
An unknown name is a `Misconfigured` like any other problem.

Errors: everything raised is a class of `order_engine.exceptions.KINDS`, built as
`KINDS[code](message, context)`. Any call may raise `Misconfigured` (all problems at once in
`context["problems"]`, one per line), `Unavailable` (`context["component"]`) and `Internal`;
the docstrings name the others. Context: `product_id` for ProductNotFound and OutOfStock,
`available` for OutOfStock; `current`, `requested`, `allowed` (with commas) for InvalidTransition.

Every call that waits releases the interpreter lock. Result classes are immutable, compare and
hash by value, can be pickled, copied and matched (`case Order(id=number, status="pending")`), and
give themselves with `to_dict`, the results inside of them included. Times are aware datetimes in
UTC, money is `Decimal`, in dicts too: `json.dumps(order.to_dict(), default=str)` writes both.
"""

from asyncio import Future
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, final

from order_engine.exceptions import OrderEngineError
from order_engine.status import OrderStatus

__all__ = [
    "Answer",
    "AsyncConsumer",
    "AsyncEngine",
    "AsyncSinkFeed",
    "Check",
    "Consumer",
    "DeadLetterEvent",
    "Delivery",
    "DemoCatalogue",
    "Engine",
    "Event",
    "HistoryEntry",
    "Order",
    "OrderLine",
    "OrderPage",
    "ParkedMessage",
    "Passage",
    "Pieces",
    "Product",
    "Replayed",
    "Setting",
    "ShadowCounts",
    "ShadowDifference",
    "ShadowReport",
    "SinkFeed",
    "SinkMessage",
    "Socket",
    "Stop",
    "Strangler",
    "Switch",
    "User",
    "__version__",
    "adopt",
    "consumer_dead_letters",
    "consumer_retry",
    "consumer_skip",
    "describe_contract",
    "describe_settings",
    "described_contracts",
    "doctor",
    "error_kinds",
    "events_dead_letters",
    "events_replay",
    "events_retry",
    "events_skip",
    "events_tail",
    "migrate",
    "mint_token",
    "reset_test_database",
    "seed_demo",
    "serve",
    "setting_variables",
    "shadow_clear",
    "shadow_ignore",
    "shadow_report",
    "switch",
    "switches",
    "undo_adoption",
    "validate_settings",
    "work",
]

__version__: str

def error_kinds() -> dict[str, bool]:
    """Give the code of every error kind, and whether the same call may succeed when made again."""

# --- processes and tools -----------------------------------------------------------------------

def serve(flags: dict[str, str], on_ready: Callable[[list[str]], None] | None = None) -> None:
    """Serve the configured contracts until SIGINT or SIGTERM, then finish what is under way.

    Blocks with the interpreter lock released. Call it from the main thread.

    Args:
        flags: Settings.
        on_ready: Called once, when every door is open, with their base URLs in the order of
            the `contract` setting (`["http://127.0.0.1:5000"]`). What it raises ends the server
            and is raised here.

    Raises:
        Misconfigured: Also when a port is taken; the problem names it.
    """

def work(
    flags: dict[str, str],
    duty: str,
    on_ready: Callable[[list[str]], None] | None = None,
) -> None:
    """Only send events, or only take them in, until SIGINT or SIGTERM; settle what is under way.

    Blocks with the interpreter lock released. Call it from the main thread.

    Args:
        flags: Settings; a broker must be among them.
        duty: `relay` or `intake`.
        on_ready: Called once, with an empty list, when the work has begun.

    Raises:
        InvalidInput: Another duty.
    """

def validate_settings(flags: dict[str, str]) -> None:
    """Check every setting that serving needs; raise what is wrong, all of it at once.

    Connects to nothing and starts no thread.
    """

def setting_variables() -> dict[str, list[str]]:
    """Give for each setting the variables that set it; the first that is set counts."""

def migrate(flags: dict[str, str]) -> list[str]:
    """Bring the database to this version's tables; return the names of what was applied.

    An up-to-date database gives an empty list. Concurrent callers wait for each other.
    """

def adopt(
    flags: dict[str, str],
    *,
    dry_run: bool = False,
    announce: bool | None = None,
    time_zone: str | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> str:
    """Adopt the database that an older application goes on using; return the report as JSON.

    Interrupted, it goes on where it stopped when it is called again; repeated, it brings the
    engine's side to what the older tables say. Brings the engine's tables up to date first.

    Args:
        flags: Settings.
        dry_run: Only look; changes nothing, and needs no tables of the engine.
        announce: Whether the engine announces what the older application does. None leaves it as
            it was, at first off.
        time_zone: How the older application's times, which carry no zone, are read. None leaves
            it as it was, at first UTC.
        on_progress: Called now and then with the stage, the rows done and the rows to do. What it
            raises ends the work and is raised here.

    Raises:
        Misconfigured: The database is not as it must be; the problems say how.
        InvalidInput: An unknown time zone, or another one than before.
        Conflict: Another adoption of this database is at work.
    """

def reset_test_database(flags: dict[str, str]) -> None:
    """Empty the tables of a test database.

    Raises:
        Forbidden: The server was not started by `order_engine.testing`.
    """

def undo_adoption(flags: dict[str, str], *, force: bool = False) -> str:
    """Go back from an adoption; return the report as JSON.

    The older tables stay, with everything written since.

    Args:
        flags: Settings.
        force: Go back even though the older tables lack something that the engine has.

    Raises:
        Misconfigured: There is no adoption, or something would be lost.
        Conflict: Another adoption of this database is at work.
    """

def mint_token(
    flags: dict[str, str],
    user_id: str,
    admin: bool = False,
    expires_seconds: int = 3600,
) -> str:
    """Sign a token for a user with the configured `jwt_secret_key`.

    Args:
        flags: Settings.
        user_id: The user the token speaks for.
        admin: Whether it may act for everybody.
        expires_seconds: Its life, from 1 to 31 536 000 (one year).

    Raises:
        InvalidInput: An empty user or a life out of range.
    """

def describe_settings(flags: dict[str, str]) -> list[Setting]:
    """List every setting as it would take effect, in the order of the documentation.

    Describes wrong values as they are, without judging them; secrets are masked.
    """

def describe_contract(flags: dict[str, str], contract: str, language: str) -> str:
    """Describe a part of a contract, as the settings have it: text that ends with a new line.

    Connects to nothing and starts no thread.

    Args:
        flags: Settings.
        contract: The contract's name.
        language: `openapi` for its REST door, `graphql` for its GraphQL schema, `asyncapi` for its
            events.

    Raises:
        Misconfigured: There is no such contract, it has no such part, or settings are wrong.
        InvalidInput: There is no such language.
    """

def described_contracts(language: str) -> list[str]:
    """List the contracts that have the part that a language describes.

    Raises:
        InvalidInput: There is no such language.
    """

def doctor(flags: dict[str, str], check_ports: bool = True) -> list[Check]:
    """Look at every part the engine would use: settings, database, tables, brokers, Redis, ports.

    The services that are asked before an order is placed are among them, where they are set.
    A part that is down is an entry that is not ok; it is not raised.
    """

def seed_demo(flags: dict[str, str]) -> DemoCatalogue:
    """Make sure the demo user and products exist; again changes nothing but the stock.

    Needs a migrated database.
    """

def events_tail(
    flags: dict[str, str],
    order_id: int | None = None,
    limit: int = 20,
) -> list[Event]:
    """List the latest events of orders and what became of their messages, oldest first.

    Args:
        flags: Settings.
        order_id: Only events of this order.
        limit: At most this many, 1 to 1000.

    Raises:
        InvalidInput: A limit out of range.
    """

def events_dead_letters(flags: dict[str, str], limit: int = 100) -> list[ParkedMessage]:
    """List messages that were set aside and wait for a decision, oldest first.

    Args:
        flags: Settings.
        limit: At most this many, 1 to 1000.

    Raises:
        InvalidInput: A limit out of range.
    """

def events_retry(flags: dict[str, str], ids: list[int] | None = None) -> int:
    """Give parked messages another try; return how many. None means all of them.

    Raises:
        NotFound: No parked message has one of these ids; nothing was changed.
    """

def events_skip(flags: dict[str, str], ids: list[int]) -> int:
    """Give parked messages up for good, so that those behind them go on; return how many.

    Raises:
        NotFound: No parked message has one of these ids; nothing was changed.
    """

def switches(flags: dict[str, str]) -> list[Switch]:
    """List what is set about who answers which operation, by the operation's name."""

def switch(
    flags: dict[str, str],
    operation: str | None,
    stage: str | None,
    percent: int | None,
    users: list[str],
) -> bool:
    """Set who answers an operation. Processes that serve it follow within a second.

    The stage holds for the users that are named and for a share of all others; whoever is left
    gets the stage before it: `shadow` before `engine`, `legacy` before `shadow`.

    Args:
        flags: Settings.
        operation: A GraphQL field (`createOrder`), a route (`GET /`); None sets the stage of
            all operations and forgets what was set for single ones.
        stage: `legacy`, `shadow` or `engine`; None for the stage of all operations, or, of all,
            for the setting `stage`.
        percent: The share of users for whom it holds, 0 to 100; the same users every time.
            None, without `users`: everybody.
        users: Users for whom it holds in any case.

    Returns:
        Whether the engine has such an operation; if not, it may be one that only the old code has.

    Raises:
        InvalidInput: A name, share or user is out of bounds, or `legacy` is to hold for some only.
    """

def shadow_ignore(flags: dict[str, str], operation: str, fields: list[str]) -> None:
    """Set the fields of an operation's answers that are not compared, instead of those before.

    Args:
        flags: Settings.
        operation: As for `switch`; `*` for all of them.
        fields: Names, which count everywhere, or paths: `createOrder.orders.status`.
    """

def shadow_report(
    flags: dict[str, str], operation: str | None = None, limit: int = 20
) -> ShadowReport:
    """Give what shadowed requests have shown, of one operation or of all.

    Args:
        flags: Settings.
        operation: Only of this one.
        limit: Most differences, 1 to 1000.
    """

def shadow_clear(flags: dict[str, str], operation: str | None = None) -> int:
    """Begin to count anew, for one operation or for all; return how many differences were kept."""

def consumer_dead_letters(
    flags: dict[str, str], queue: str, limit: int = 100
) -> list[DeadLetterEvent]:
    """List the messages that consumers of a queue have set aside, oldest first.

    Args:
        flags: Settings.
        queue: The consumers' queue.
        limit: At most this many, 1 to 1000.

    Raises:
        InvalidInput: A limit out of range.
    """

def consumer_retry(flags: dict[str, str], queue: str, ids: list[str] | None = None) -> int:
    """Put parked messages back into their queue; return how many. None means all of them.

    Raises:
        NotFound: The queue is not there.
    """

def consumer_skip(flags: dict[str, str], queue: str, ids: list[str]) -> int:
    """Give parked messages up for good; return how many."""

def events_replay(
    flags: dict[str, str],
    past: tuple[list[int], datetime | None, datetime | None, str | None],
    rate_per_s: int = 1000,
    dry_run: bool = False,
    on_progress: Callable[[Replayed], None] | None = None,
) -> Replayed:
    """Tell past events again, to the contracts of the settings. See `OrderEngine.events_replay`.

    Args:
        flags: Settings.
        past: Numbers of orders (none for all), since, until, and the cursor to go on after.
        rate_per_s: Messages put into the outbox per second, 1 to 100 000.
        dry_run: Only count what would be told.
        on_progress: Called about once a second, and at the end, with what is done so far; also
            before a KeyboardInterrupt is raised. What it raises ends the replay and is raised here.

    Raises:
        InvalidInput: A rate out of range, a wrong cursor, a past that ends before it begins.
        Unavailable: Also when nothing leaves; `context["cursor"]` says where to go on.
    """

@final
class Setting:
    """One setting as it would take effect."""

    __match_args__ = ("name", "value", "origin")

    def __new__(cls, name: str, value: str | None, origin: str) -> Setting: ...
    @property
    def name(self) -> str:
        """Its name in `flags`: `database_url`."""
    @property
    def value(self) -> str | None:
        """Its value as text, secrets masked; None where there is none."""
    @property
    def origin(self) -> str:
        """Who gave it.

        `flag`, `environment (DATABASE_URL)`, `.env (DATABASE_URL)`, `order-engine.toml`,
        `default`, or `not set`.
        """
    def to_dict(self) -> dict[str, Any]:
        """Give the fields by name; results inside of them as dicts too, all else as it is."""

@final
class Check:
    """The state of one part the engine uses."""

    __match_args__ = ("name", "ok", "detail", "remedy")

    def __new__(cls, name: str, ok: bool, detail: str, remedy: str | None) -> Check: ...
    @property
    def name(self) -> str:
        """The part: `postgresql`."""
    @property
    def ok(self) -> bool:
        """Whether it can be used as it is."""
    @property
    def detail(self) -> str:
        """What was found, and where it was looked for; no secrets."""
    @property
    def remedy(self) -> str | None:
        """What to do; None where nothing is to be done."""
    def to_dict(self) -> dict[str, Any]:
        """Give the fields by name; results inside of them as dicts too, all else as it is."""

@final
class DemoCatalogue:
    """What the demo data consist of."""

    __match_args__ = ("user_id", "products")

    def __new__(
        cls,
        user_id: str,
        products: list[tuple[str, str, Decimal, int]],
    ) -> DemoCatalogue: ...
    @property
    def user_id(self) -> str:
        """The demo user."""
    @property
    def products(self) -> list[tuple[str, str, Decimal, int]]:
        """Id, name, price and stock of each product."""
    def to_dict(self) -> dict[str, Any]:
        """Give the fields by name; results inside of them as dicts too, all else as it is."""

@final
class Event:
    """One thing that happened to an order, which the engine announces."""

    __match_args__ = ("order_id", "version", "at", "action", "status", "delivery")

    def __new__(
        cls,
        order_id: int,
        version: int,
        at: datetime,
        action: str,
        status: OrderStatus,
        delivery: str,
    ) -> Event: ...
    @property
    def order_id(self) -> int:
        """Whose event it is."""
    @property
    def version(self) -> int:
        """The order's version since then."""
    @property
    def at(self) -> datetime:
        """When it happened."""
    @property
    def action(self) -> str:
        """What happened: `placed`, `updated` or `deleted`."""
    @property
    def status(self) -> OrderStatus:
        """The order's status since then."""
    @property
    def delivery(self) -> str:
        """What became of its messages.

        `waiting` or `parked` as long as one of them is; `done` when nothing is left to send.
        """
    def to_dict(self) -> dict[str, Any]:
        """Give the fields by name; results inside of them as dicts too, all else as it is."""

@final
class ParkedMessage:
    """A message set aside because it could not be sent, or not be understood."""

    __match_args__ = (
        "id",
        "direction",
        "topic",
        "order_id",
        "reason",
        "attempts",
        "dead_lettered_at",
    )

    def __new__(
        cls,
        id: int,  # noqa: A002 - the field's name.
        direction: str,
        topic: str,
        order_id: int | None,
        reason: str,
        attempts: int,
        dead_lettered_at: datetime,
    ) -> ParkedMessage: ...
    @property
    def id(self) -> int:
        """Its number, unique among outgoing and incoming ones."""
    @property
    def direction(self) -> str:
        """`outgoing` or `incoming`."""
    @property
    def topic(self) -> str:
        """The routing key, topic or queue."""
    @property
    def order_id(self) -> int | None:
        """The order an outgoing message tells about."""
    @property
    def reason(self) -> str:
        """Why it was set aside."""
    @property
    def attempts(self) -> int:
        """How often it was tried."""
    @property
    def dead_lettered_at(self) -> datetime:
        """Since when it waits."""
    def to_dict(self) -> dict[str, Any]:
        """Give the fields by name; results inside of them as dicts too, all else as it is."""

@final
class Switch:
    """Who answers one operation."""

    __match_args__ = (
        "operation",
        "stage",
        "percent",
        "users",
        "ignored",
        "updated_at",
    )

    def __new__(
        cls,
        operation: str,
        stage: str | None,
        percent: int | None,
        users: tuple[str, ...],
        ignored: tuple[str, ...],
        updated_at: datetime,
    ) -> Switch: ...
    @property
    def operation(self) -> str:
        """A GraphQL field, a route, or `*` for all that have no stage of their own."""
    @property
    def stage(self) -> str | None:
        """`legacy`, `shadow` or `engine`; None where only `ignored` is set."""
    @property
    def percent(self) -> int | None:
        """The share of users for whom the stage holds, 0 to 100."""
    @property
    def users(self) -> tuple[str, ...]:
        """Users for whom it holds in any case."""
    @property
    def ignored(self) -> tuple[str, ...]:
        """Fields that are not compared."""
    @property
    def updated_at(self) -> datetime:
        """When it was last changed."""
    def to_dict(self) -> dict[str, Any]:
        """Give the fields by name; results inside of them as dicts too, all else as it is."""

@final
class ShadowCounts:
    """What became of the shadowed requests of one operation."""

    __match_args__ = (
        "operation",
        "matched",
        "differed",
        "unsettled",
        "failed",
        "skipped",
        "since",
    )

    def __new__(
        cls,
        operation: str,
        matched: int,
        differed: int,
        unsettled: int,
        failed: int,
        skipped: int,
        since: datetime,
    ) -> ShadowCounts: ...
    @property
    def operation(self) -> str:
        """The operation; `other` for all that name nothing known."""
    @property
    def matched(self) -> int:
        """Both answers were the same."""
    @property
    def differed(self) -> int:
        """The engine would have answered otherwise."""
    @property
    def unsettled(self) -> int:
        """The answers differ, and the data may have changed between them."""
    @property
    def failed(self) -> int:
        """The engine gave no answer: locked out, out of time, without its database."""
    @property
    def skipped(self) -> int:
        """Not rehearsed, or there was no answer of the old code to compare with."""
    @property
    def since(self) -> datetime:
        """Since when they are counted."""
    def to_dict(self) -> dict[str, Any]:
        """Give the fields by name; results inside of them as dicts too, all else as it is."""

@final
class ShadowDifference:
    """A request that the engine would have answered otherwise."""

    __match_args__ = (
        "id",
        "operation",
        "at",
        "request",
        "legacy_status",
        "legacy",
        "engine_status",
        "engine",
        "paths",
    )

    def __new__(
        cls,
        id: int,  # noqa: A002 - the field's name.
        operation: str,
        at: datetime,
        request: str,
        legacy_status: int,
        legacy: str,
        engine_status: int,
        engine: str,
        paths: tuple[str, ...],
    ) -> ShadowDifference: ...
    @property
    def id(self) -> int:
        """Its number; a later one has a higher one."""
    @property
    def operation(self) -> str:
        """The operation."""
    @property
    def at(self) -> datetime:
        """When it was asked."""
    @property
    def request(self) -> str:
        """The document and its variables as JSON, without headers, at most 16 KiB of it."""
    @property
    def legacy_status(self) -> int:
        """The status code of the old code's answer."""
    @property
    def legacy(self) -> str:
        """The body of the old code's answer, at most 16 KiB of it."""
    @property
    def engine_status(self) -> int:
        """The status code of the engine's answer."""
    @property
    def engine(self) -> str:
        """The body of the engine's answer, at most 16 KiB of it."""
    @property
    def paths(self) -> tuple[str, ...]:
        """Where they differ, at most 50: `createOrder.orders.0.total_amount`."""
    def to_dict(self) -> dict[str, Any]:
        """Give the fields by name; results inside of them as dicts too, all else as it is."""

@final
class ShadowReport:
    """What shadowed requests have shown."""

    __match_args__ = (
        "counts",
        "differences",
    )

    def __new__(
        cls,
        counts: tuple[ShadowCounts, ...],
        differences: tuple[ShadowDifference, ...],
    ) -> ShadowReport: ...
    @property
    def counts(self) -> tuple[ShadowCounts, ...]:
        """By operation."""
    @property
    def differences(self) -> tuple[ShadowDifference, ...]:
        """The newest first; 1000 of each operation are kept."""
    def to_dict(self) -> dict[str, Any]:
        """Give the fields by name; results inside of them as dicts too, all else as it is."""

@final
class Strangler:
    """The switch between a program's own code and the engine, in one process.

    It follows `switch` and writes down what it finds in the background.
    """

    def receive(
        self, method: str, target: str, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> Passage:
        """Decide who answers a request; in `shadow` begin to rehearse it.

        Takes microseconds. Of an operation whose answers have differed within the last minute it
        waits until the rehearsal is over, 50 ms at most.

        Raises:
            Unavailable: This process is a fork of the one that opened the switch.
        """

@final
class Passage:
    """What is to be done with one request."""

    @property
    def stage(self) -> str:
        """Who answers: `engine`, or in `legacy` and `shadow` the program's own code."""
    def answered(self, status: int, body: bytes) -> None:
        """Say what the program's own code answered, to be compared. Without it nothing is."""

# --- the engine --------------------------------------------------------------------------------

@final
class Engine:
    """The engine in this process: a pool of database connections and the relay of events.

    Connects at once, so that a missing database is known here. With a broker configured, events
    are sent in the background for as long as it is open. May be shared by threads.

    Every verb is described where it is used, at `order_engine.OrderEngine`; here ids are text but
    for an order's, and every argument is given. `execute` takes and gives JSON text. From `close`
    on, any call but another `close` raises `Unavailable`, as in a fork of the process.
    """

    def __new__(cls, flags: dict[str, str], sinks: list[str] = ...) -> Engine: ...
    def sink_feeds(self) -> list[SinkFeed]: ...
    def place_order(
        self, user_id: str, items: list[tuple[str, int]], idempotency_key: str | None
    ) -> Order: ...
    def place_orders(
        self, rows: list[tuple[str, list[tuple[str, int]], str | None]]
    ) -> list[Order | OrderEngineError]: ...
    def get_order(self, order_id: int, user_id: str | None) -> Order: ...
    def list_orders(
        self, user_id: str | None, status: str | None, first: int, after: str | None
    ) -> OrderPage: ...
    def change_status(self, order_id: int, status: str) -> Order: ...
    def cancel_order(self, order_id: int, reason: str | None) -> Order: ...
    def delete_order(self, order_id: int) -> None: ...
    def order_history(self, order_id: int) -> list[HistoryEntry]: ...
    def get_user(self, user_id: str) -> User: ...
    def upsert_user(
        self,
        user_id: str,
        username: str | None,
        email: str | None,
        address: str | None,
        contact: str | None,
    ) -> None: ...
    def get_product(self, product_id: str) -> Product: ...
    def upsert_product(
        self, product_id: str, name: str, price: Decimal, quantity: int | None
    ) -> None: ...
    def set_stock(self, product_id: str, quantity: int) -> None: ...
    def apply_event(
        self,
        routing_key: str,
        body: bytes,
        correlation_id: str | None,
        message_id: str | None,
        redelivered: bool,
    ) -> None: ...
    def execute(
        self,
        query: str,
        variables_json: str | None,
        operation_name: str | None,
        headers: list[tuple[bytes, bytes]],
    ) -> str: ...
    def answer(
        self, method: str, target: str, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> Answer: ...
    def next_piece(self, pieces: Pieces) -> bytes | None: ...
    def open_socket(self, headers: list[tuple[bytes, bytes]]) -> Socket | None: ...
    def strangler(self) -> Strangler:
        """Give the switch of this engine; the first call reads what is set."""
    def events_tail(self, order_id: int | None, limit: int) -> list[Event]: ...
    def events_dead_letters(self, limit: int) -> list[ParkedMessage]: ...
    def events_retry(self, ids: list[int] | None) -> int: ...
    def events_skip(self, ids: list[int]) -> int: ...
    def events_replay(
        self,
        past: tuple[list[int], datetime | None, datetime | None, str | None],
        contract: str | None,
        rate_per_s: int,
        dry_run: bool,
    ) -> Replayed: ...
    def health(self) -> list[Check]: ...
    def close(self) -> None: ...

@final
class AsyncEngine:
    """`Engine` for asyncio: each call gives a future of the running loop.

    Cancelling the future ends the work. Only `close` goes on.
    """

    @staticmethod
    def open(flags: dict[str, str], sinks: list[str] = ...) -> Future[AsyncEngine]:
        """Connect, as `Engine` does when it is made."""
    def sink_feeds(self) -> list[AsyncSinkFeed]: ...
    def place_order(
        self, user_id: str, items: list[tuple[str, int]], idempotency_key: str | None
    ) -> Future[Order]: ...
    def place_orders(
        self, rows: list[tuple[str, list[tuple[str, int]], str | None]]
    ) -> Future[list[Order | OrderEngineError]]: ...
    def get_order(self, order_id: int, user_id: str | None) -> Future[Order]: ...
    def list_orders(
        self, user_id: str | None, status: str | None, first: int, after: str | None
    ) -> Future[OrderPage]: ...
    def change_status(self, order_id: int, status: str) -> Future[Order]: ...
    def cancel_order(self, order_id: int, reason: str | None) -> Future[Order]: ...
    def delete_order(self, order_id: int) -> Future[None]: ...
    def order_history(self, order_id: int) -> Future[list[HistoryEntry]]: ...
    def get_user(self, user_id: str) -> Future[User]: ...
    def upsert_user(
        self,
        user_id: str,
        username: str | None,
        email: str | None,
        address: str | None,
        contact: str | None,
    ) -> Future[None]: ...
    def get_product(self, product_id: str) -> Future[Product]: ...
    def upsert_product(
        self, product_id: str, name: str, price: Decimal, quantity: int | None
    ) -> Future[None]: ...
    def set_stock(self, product_id: str, quantity: int) -> Future[None]: ...
    def apply_event(
        self,
        routing_key: str,
        body: bytes,
        correlation_id: str | None,
        message_id: str | None,
        redelivered: bool,
    ) -> Future[None]: ...
    def execute(
        self,
        query: str,
        variables_json: str | None,
        operation_name: str | None,
        headers: list[tuple[bytes, bytes]],
    ) -> Future[str]: ...
    def answer(
        self, method: str, target: str, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> Future[Answer]: ...
    def next_piece(self, pieces: Pieces) -> Future[bytes | None]: ...
    def open_socket(self, headers: list[tuple[bytes, bytes]]) -> Future[Socket | None]: ...
    def strangler(self) -> Future[Strangler]: ...
    def events_tail(self, order_id: int | None, limit: int) -> Future[list[Event]]: ...
    def events_dead_letters(self, limit: int) -> Future[list[ParkedMessage]]: ...
    def events_retry(self, ids: list[int] | None) -> Future[int]: ...
    def events_skip(self, ids: list[int]) -> Future[int]: ...
    def events_replay(
        self,
        past: tuple[list[int], datetime | None, datetime | None, str | None],
        contract: str | None,
        rate_per_s: int,
        dry_run: bool,
    ) -> Future[Replayed]: ...
    def health(self) -> Future[list[Check]]: ...
    def close(self) -> Future[None]: ...

@final
class Stop:
    """The word that ends a consumer's waiting.

    Giving it neither waits nor fails: in a signal's handler, from any thread, before and after the
    consumer itself.
    """

    def __new__(cls) -> Stop: ...
    def set(self) -> None:
        """Give it, for good."""
    def is_set(self) -> bool:
        """Tell whether it was given."""

@final
class Delivery:
    """One message that came in."""

    @property
    def routing_key(self) -> str:
        """What it came with; also that of one that was put back after it had been set aside."""
    @property
    def body(self) -> bytes:
        """Its bytes."""
    @property
    def message_id(self) -> str | None:
        """The sender's id for it, if it gave one."""
    @property
    def correlation_id(self) -> str | None:
        """What it answers or belongs to, if it says so."""
    @property
    def redelivered(self) -> bool:
        """Whether the broker says that it may have been delivered before."""
    @property
    def headers_json(self) -> str:
        """What else the sender says of it, as a JSON object."""

@final
class Consumer:
    """A queue, one delivery after the other; connects when it is first asked for one.

    Every call may raise `Unavailable` after `close`, and in a fork of the process that made it.
    """

    def __new__(
        cls, flags: dict[str, str], queue: str, routing_keys: list[str], stop: Stop
    ) -> Consumer: ...
    def next(self) -> Delivery | None:
        """Wait for the next delivery, through every outage.

        The same one again until it is acknowledged or parked; None when `stop` is set.
        """
    def acknowledge(self, delivery: Delivery) -> None:
        """Tell the broker that a delivery is done with; if that fails, it comes again."""
    def dead_letter(self, delivery: Delivery, reason: str, attempts: int) -> None:
        """Set a delivery aside, then acknowledge it; if the broker fails, it comes again."""
    def pause(self, seconds: float) -> None:
        """Wait so long, or until `stop` is set."""
    def close(self) -> None:
        """Set `stop`, and end the connection; what is not acknowledged goes to somebody else."""

@final
class AsyncConsumer:
    """`Consumer` for asyncio: every call gives a future of the loop that runs."""

    def __new__(
        cls, flags: dict[str, str], queue: str, routing_keys: list[str], stop: Stop
    ) -> AsyncConsumer: ...
    def next(self) -> Future[Delivery | None]: ...
    def acknowledge(self, delivery: Delivery) -> Future[None]: ...
    def dead_letter(self, delivery: Delivery, reason: str, attempts: int) -> Future[None]: ...
    def pause(self, seconds: float) -> Future[None]: ...
    def close(self) -> Future[None]: ...

@final
class SinkFeed:
    """What is told to one sink of this process, for the thread that waits for it.

    One batch after the other: `next`, then `settle` or `give_up`.
    """

    def next(self) -> list[SinkMessage] | None:
        """Wait for the next batch; None when the engine is closed."""
    def settle(self, refusals: list[str | None]) -> None:
        """Say for each message of the batch that it is taken, or why it is refused."""
    def give_up(self, reason: str) -> None:
        """Say that nothing is known about the batch: it comes again."""

@final
class AsyncSinkFeed:
    """`SinkFeed` for asyncio."""

    def next(self) -> Future[list[SinkMessage] | None]:
        """See `SinkFeed.next`."""
    def settle(self, refusals: list[str | None]) -> None:
        """See `SinkFeed.settle`."""
    def give_up(self, reason: str) -> None:
        """See `SinkFeed.give_up`."""

@final
class SinkMessage:
    """An event, as a sink is told of it."""

    __match_args__ = (
        "message_id",
        "event",
        "order_id",
        "hex_id",
        "version",
        "body",
        "attempts",
        "replayed",
    )

    def __new__(
        cls,
        message_id: str,
        event: str,
        order_id: int,
        hex_id: str,
        version: int,
        body: str,
        attempts: int,
        replayed: bool,
    ) -> SinkMessage: ...
    @property
    def message_id(self) -> str:
        """The event's id: the same whenever it comes again."""
    @property
    def event(self) -> str:
        """`order.placed`, `order.updated` or `order.deleted`."""
    @property
    def order_id(self) -> int:
        """The order's number."""
    @property
    def hex_id(self) -> str:
        """The same order's 24 hex digits, the `_id` of some contracts."""
    @property
    def version(self) -> int:
        """The order's version after the event: 1 for a new one, one more with every change."""
    @property
    def body(self) -> str:
        """All of it as JSON; see docs/SINKS.md."""
    @property
    def attempts(self) -> int:
        """How often the sink has refused it."""
    @property
    def replayed(self) -> bool:
        """Whether it tells the past again, and is no news."""
    def to_dict(self) -> dict[str, Any]:
        """Give the fields by name; results inside of them as dicts too, all else as it is."""

@final
class DeadLetterEvent:
    """A message that a consumer set aside."""

    __match_args__ = (
        "id",
        "routing_key",
        "message_id",
        "attempts",
        "dead_lettered_at",
        "reason",
        "text",
    )

    def __new__(
        cls,
        id: str,  # noqa: A002 - the field's name.
        routing_key: str,
        message_id: str | None,
        attempts: int,
        dead_lettered_at: datetime | None,
        reason: str,
        text: str,
    ) -> DeadLetterEvent: ...
    @property
    def id(self) -> str:
        """Names it, for a retry or a skip."""
    @property
    def routing_key(self) -> str:
        """What it came with."""
    @property
    def message_id(self) -> str | None:
        """The sender's id for it, if it gave one."""
    @property
    def attempts(self) -> int:
        """How often its function was called; 0 where it could not be read."""
    @property
    def dead_lettered_at(self) -> datetime | None:
        """When it was set aside; None of a message that somebody else put there."""
    @property
    def reason(self) -> str:
        """What was wrong with it, at most 500 characters."""
    @property
    def text(self) -> str:
        """Its body."""
    def to_dict(self) -> dict[str, Any]:
        """Give the fields by name; results inside of them as dicts too, all else as it is."""

@final
class Answer:
    """The answer to an HTTP request, whole or as a stream."""

    @property
    def status(self) -> int:
        """The status code."""
    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Names in lower case and values, `content-length` among them unless it is a stream."""
    @property
    def body(self) -> bytes:
        """The whole body; empty for a stream."""
    @property
    def pieces(self) -> Pieces | None:
        """What `next_piece` takes the pieces of a stream from; None where `body` is all."""

@final
class Pieces:
    """The body of a streamed answer. Letting go of it ends what makes it."""

@final
class Socket:
    """The engine's side of a WebSocket. Letting go of it says that the client is gone."""

    @property
    def protocol(self) -> str:
        """The protocol that was chosen, for the answer to the client."""
    def take(self, text: str) -> Future[bool]:
        """Take a message of the client; False when the socket is over."""
    def next(self) -> Future[str | tuple[int, str] | None]:
        """Wait for what is to be sent.

        Text, or the code and the reason of the end, or None when all was said. Pings are not the
        engine's business.
        """

@final
class OrderLine:
    """One line of an order."""

    __match_args__ = ("id", "product_id", "name", "quantity", "unit_price")

    def __new__(
        cls,
        id: int,  # noqa: A002 - the field's name.
        product_id: str,
        name: str,
        quantity: int,
        unit_price: Decimal,
    ) -> OrderLine: ...
    @property
    def id(self) -> int:
        """The line's number, unique over all orders."""
    @property
    def product_id(self) -> str:
        """The product."""
    @property
    def name(self) -> str:
        """Its name when it was bought."""
    @property
    def quantity(self) -> int:
        """Pieces, at least 1."""
    @property
    def unit_price(self) -> Decimal:
        """The price of one piece when it was bought, in the order's currency."""
    def to_dict(self) -> dict[str, Any]:
        """Give the fields by name; results inside of them as dicts too, all else as it is."""

@final
class Order:
    """An order as it stood when it was read."""

    __match_args__ = (
        "id",
        "user_id",
        "status",
        "lines",
        "total",
        "currency",
        "address",
        "version",
        "created_at",
        "updated_at",
    )

    def __new__(
        cls,
        id: int,  # noqa: A002 - the field's name.
        user_id: str,
        status: OrderStatus,
        lines: tuple[OrderLine, ...],
        total: Decimal,
        currency: str,
        address: str | None,
        version: int,
        created_at: datetime,
        updated_at: datetime,
    ) -> Order: ...
    @property
    def id(self) -> int:
        """Its number."""
    @property
    def user_id(self) -> str:
        """Whose it is."""
    @property
    def status(self) -> OrderStatus:
        """Where it stands; equal to its text, `pending`."""
    @property
    def lines(self) -> tuple[OrderLine, ...]:
        """Its lines, in the order they were given."""
    @property
    def total(self) -> Decimal:
        """The sum of its lines."""
    @property
    def currency(self) -> str:
        """ISO 4217, three letters."""
    @property
    def address(self) -> str | None:
        """Where it goes, as known when it was placed."""
    @property
    def version(self) -> int:
        """1 when placed; each change adds 1."""
    @property
    def created_at(self) -> datetime:
        """When it was placed."""
    @property
    def updated_at(self) -> datetime:
        """When it was last changed."""
    def to_dict(self) -> dict[str, Any]:
        """Give the fields by name; results inside of them as dicts too, all else as it is."""

@final
class HistoryEntry:
    """One thing that happened to an order."""

    __match_args__ = ("version", "at", "actor", "action", "previous_status", "status", "reason")

    def __new__(
        cls,
        version: int,
        at: datetime,
        actor: str,
        action: str,
        previous_status: OrderStatus | None,
        status: OrderStatus,
        reason: str | None,
    ) -> HistoryEntry: ...
    @property
    def version(self) -> int:
        """The order's version since then."""
    @property
    def at(self) -> datetime:
        """When."""
    @property
    def actor(self) -> str:
        """Who did it: a user id, or `system`."""
    @property
    def action(self) -> str:
        """What happened: `placed`, `updated` or `deleted`."""
    @property
    def previous_status(self) -> OrderStatus | None:
        """The status before; None for the first entry."""
    @property
    def status(self) -> OrderStatus:
        """The status since then."""
    @property
    def reason(self) -> str | None:
        """Why, where it was said."""
    def to_dict(self) -> dict[str, Any]:
        """Give the fields by name; results inside of them as dicts too, all else as it is."""

@final
class OrderPage:
    """Some orders, and where the next ones begin."""

    __match_args__ = ("orders", "next_cursor")

    def __new__(cls, orders: tuple[Order, ...], next_cursor: str | None) -> OrderPage: ...
    @property
    def orders(self) -> tuple[Order, ...]:
        """At most as many as asked for."""
    @property
    def next_cursor(self) -> str | None:
        """What to pass as `after`; None when this was the last page."""
    def to_dict(self) -> dict[str, Any]:
        """Give the fields by name; results inside of them as dicts too, all else as it is."""

@final
class Product:
    """A product of the catalogue, and how many of it there are."""

    __match_args__ = (
        "product_id",
        "name",
        "price",
        "currency",
        "reported",
        "reserved",
        "available",
        "updated_at",
    )

    def __new__(
        cls,
        product_id: str,
        name: str | None,
        price: Decimal | None,
        currency: str,
        reported: int | None,
        reserved: int,
        available: int,
        updated_at: datetime,
    ) -> Product: ...
    @property
    def product_id(self) -> str:
        """Which."""
    @property
    def name(self) -> str | None:
        """The name to show; None while only its stock is known, and then it is not sold."""
    @property
    def price(self) -> Decimal | None:
        """The price of one piece; None while only its stock is known."""
    @property
    def currency(self) -> str:
        """What the price is in: ISO 4217, three letters."""
    @property
    def reported(self) -> int | None:
        """Pieces the product service last said are there; None before the first report."""
    @property
    def reserved(self) -> int:
        """Pieces that orders hold and the product service has not subtracted yet."""
    @property
    def available(self) -> int:
        """Pieces that can be ordered: `reported` less `reserved`, never below 0."""
    @property
    def updated_at(self) -> datetime:
        """When any of this last changed."""
    def to_dict(self) -> dict[str, Any]:
        """Give the fields by name; results inside of them as dicts too, all else as it is."""

@final
class User:
    """A user as other services have announced one."""

    __match_args__ = ("user_id", "username", "email", "address", "contact", "updated_at")

    def __new__(
        cls,
        user_id: str,
        username: str | None,
        email: str | None,
        address: str | None,
        contact: str | None,
        updated_at: datetime,
    ) -> User: ...
    @property
    def user_id(self) -> str:
        """Who."""
    @property
    def username(self) -> str | None:
        """The name to show, where one was told, as for what follows."""
    @property
    def email(self) -> str | None:
        """Where to write to."""
    @property
    def address(self) -> str | None:
        """Where orders that are placed now go."""
    @property
    def contact(self) -> str | None:
        """A telephone number or the like."""
    @property
    def updated_at(self) -> datetime:
        """When any of this was last told."""
    def to_dict(self) -> dict[str, Any]:
        """Give the fields by name; results inside of them as dicts too, all else as it is."""

@final
class Replayed:
    """What a replay of the past has done so far."""

    __match_args__ = ("events", "messages", "waiting", "cursor", "until")

    def __new__(
        cls, events: int, messages: int, waiting: int, cursor: str | None, until: datetime
    ) -> Replayed: ...
    @property
    def events(self) -> int:
        """Events that were told again, or whose messages had not left yet."""
    @property
    def messages(self) -> int:
        """Messages that were put into the outbox, or would be."""
    @property
    def waiting(self) -> int:
        """Messages told again, by this replay or another, that had not left the last time."""
    @property
    def cursor(self) -> str | None:
        """What to pass as `after` to go on behind the last event; None before the first."""
    @property
    def until(self) -> datetime:
        """Before when the events are; pass it too to go on with the same ones."""
    def to_dict(self) -> dict[str, Any]:
        """Give the fields by name; results inside of them as dicts too, all else as it is."""
