"""The engine in a Flask app: its doors, `current_order_engine`, and `flask order-engine`."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import Flask, current_app, request
from werkzeug.datastructures import Headers
from werkzeug.local import LocalProxy

from order_engine import _native, arguments, configuration, http_door, wsgi
from order_engine.cli import app_commands
from order_engine.exceptions import InvalidInput, Unavailable
from order_engine.lazy_engine import LazyEngine
from order_engine.strangler import Strangler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flask import Response
    from flask.typing import ResponseReturnValue

    from order_engine.engine import OrderEngine

    Asked = tuple[str, str, list[tuple[bytes, bytes]], bytes]

NAME = "order_engine"
"""The extension's place in `app.extensions`, and the prefix of its endpoints."""

METHODS = ("GET", "HEAD", "POST")
"""What the doors answer. OPTIONS and the rest are left to Flask, as CORS extensions expect."""


class OrderEngineExtension:
    """Takes over the doors of the order service in a Flask app, whatever answered there before.

    The rest of the app goes on as it is. Its own hooks (`before_request`, `after_request`,
    CORS, sessions) run for the engine's answers too. The engine is opened with the first request
    that needs it, in each worker process of its own; by default it also sends the events of
    orders from there (`ORDER_ENGINE_RELAY=false` leaves that to `order-engine relay`).

    With the setting `stage`, or with `order-engine switch` while the app runs, its own code goes
    on answering some operations, for some users, alone or compared with the engine.

    Settings are taken from the app's configuration where it has the name of a variable:
    `SQLALCHEMY_DATABASE_URI` or `DATABASE_URL`, `RABBITMQ_URL` or `RABBITMQ_URI`,
    `JWT_SECRET_KEY`, `ORDER_ENGINE_ACCESS` and so on; then from the environment, as ever.

    Example:
        app = Flask(__name__)
        app.config.from_prefixed_env()
        OrderEngineExtension(app)

    Args:
        app: The app; or call `init_app` later.
        prefix: Where the doors are: `/shop` puts them at `/shop/graphql` and `/shop/`.
        doors: Which ones: `/graphql` (with the playground), `/`, and, if you like, `/healthz`,
            `/readyz` and `/metrics`.
        **settings: Settings by name; they outrank the app's configuration.

    Raises:
        Misconfigured: Settings are missing or wrong; `problems` lists them all.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        prefix: str = "",
        doors: Iterable[str] = (http_door.GRAPHQL, "/"),
        **settings: str | float | None,
    ) -> None:
        self._prefix = prefix.rstrip("/")
        self._doors = tuple(doors)
        self._settings = settings
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Take over the doors of an app. Opens nothing yet, so that workers may be forked.

        Raises:
            Misconfigured: Settings are missing or wrong; `problems` lists them all.
        """
        flags = configuration.of_app(app.config) | configuration.given(self._settings)
        _native.validate_settings(flags)
        app.extensions[NAME] = _EngineOfApp(flags)
        for door in self._doors:
            # So that Flask knows the place: for url_for, OPTIONS and whoever looks at endpoints.
            app.add_url_rule(
                self._prefix + door,
                f"{NAME}.{door.strip('/') or 'root'}",
                self._answer,
                methods=["GET", "POST"] if door == http_door.GRAPHQL else ["GET"],
            )
        app.dispatch_request = self._dispatching(app.dispatch_request)  # type: ignore[method-assign]
        app.cli.add_command(app_commands.group(flags))

    def _dispatching(
        self, dispatch: Callable[[], ResponseReturnValue]
    ) -> Callable[[], ResponseReturnValue]:
        """Answer at the doors, whichever route of the app is there; else go on as ever."""

        def dispatch_request() -> ResponseReturnValue:
            if request.method in METHODS and self._is_door(request.path):
                return self._switched(dispatch)
            return dispatch()

        return dispatch_request

    def _is_door(self, path: str) -> bool:
        if not path.startswith(f"{self._prefix}/"):
            return False
        inner = path[len(self._prefix) :]
        assets = f"{http_door.GRAPHQL}/assets/"
        return inner in self._doors or (
            http_door.GRAPHQL in self._doors and inner.startswith(assets)
        )

    def _switched(self, dispatch: Callable[[], ResponseReturnValue]) -> ResponseReturnValue:
        """Let the app's own code answer, the engine, or the former with the latter beside it."""
        engine_of_app = _engine_of_app()
        if not self._lead_to_own_code():
            return self._answer()
        asked = self._asked(is_kept=True)
        passage = engine_of_app.strangler.receive(*asked)
        stage = engine_of_app.stage if passage is None else passage.stage
        if stage == "engine":
            return self._answer(asked)
        answer = dispatch()
        if passage is None or stage == "legacy":
            return answer
        response = current_app.make_response(answer)
        if not (response.is_streamed or response.direct_passthrough):
            passage.answered(response.status_code, response.get_data())
        return response

    def _lead_to_own_code(self) -> bool:
        """See to it that the app's own view is called if it has one; tell whether it has."""
        own = request.url_rule
        if own is None:
            return False
        if own.endpoint.startswith(f"{NAME}."):
            rules = current_app.url_map.iter_rules()
            others = (
                rule
                for rule in rules
                if rule.rule == own.rule
                and request.method in (rule.methods or ())
                and not rule.endpoint.startswith(f"{NAME}.")
            )
            request.url_rule = next(others, own)
        return request.url_rule is not own or not own.endpoint.startswith(f"{NAME}.")

    def _asked(self, *, is_kept: bool) -> Asked:
        """Give the request as the engine takes it, below the prefix."""
        inner = request.path[len(self._prefix) :]
        query = request.query_string.decode("latin-1")
        headers = arguments.headers((name.lower(), value) for name, value in request.headers)
        return request.method, http_door.target(inner, query), headers, _body(is_kept=is_kept)

    def _answer(self, asked: Asked | None = None) -> Response:
        try:
            engine = _engine_of_app().get()
            answer = engine.answer_http(*(asked or self._asked(is_kept=False)))
        except Unavailable as error:
            status, refusal_headers, text = http_door.refusal(error)
            return current_app.response_class(text, status, refusal_headers)
        except InvalidInput as error:
            return current_app.response_class(str(error), 400, mimetype="text/plain")
        # In a list, because the length of a lone body would overwrite that of a HEAD's.
        body = [answer.body] if answer.pieces is None else wsgi.Pieces(engine, answer.pieces)
        response = current_app.response_class(
            body, answer.status, direct_passthrough=answer.pieces is not None
        )
        # Flask would give an answer without a content type one.
        response.headers = Headers(wsgi.decoded(answer.headers))
        return response


class _EngineOfApp(LazyEngine):
    """The engine of one app, and the switch between the two."""

    def __init__(self, flags: dict[str, str]) -> None:
        super().__init__(flags)
        self.strangler = Strangler(lambda: self.get().strangler())
        self.stage = configuration.value(flags, "stage")


def _body(*, is_kept: bool) -> bytes:
    """Give the body, also where a hook of the app has read it; of one too long, its beginning.

    One that is kept can be read again by the app's own code, which also bounds its length.
    """
    length = request.content_length
    if length is None and not is_kept:
        return request.stream.read(http_door.BODY_BYTES_MAX + 1)
    if length is None:
        return request.get_data()[: http_door.BODY_BYTES_MAX + 1]
    if length > http_door.BODY_BYTES_MAX:
        return bytes(http_door.BODY_BYTES_MAX + 1)
    return request.get_data()


def _engine_of_app() -> _EngineOfApp:
    try:
        return cast("_EngineOfApp", current_app.extensions[NAME])
    except KeyError:
        raise RuntimeError("This app has no OrderEngineExtension; call its init_app(app)") from None


def _current() -> OrderEngine:
    return _engine_of_app().get()


current_order_engine: OrderEngine = cast("OrderEngine", LocalProxy(_current))
"""The engine of the app that is being served; opened when it is first used."""
