"""Flask integration: the engine's HTTP API, `current_order_engine`, and `flask order-engine`."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import Flask, current_app, jsonify, request
from werkzeug.datastructures import Headers
from werkzeug.local import LocalProxy

from order_engine import _native, configuration, http_api, http_errors, wsgi
from order_engine.cli import app_commands
from order_engine.connection import close_at_exit
from order_engine.engine import OrderEngine
from order_engine.exceptions import InvalidInput, OrderEngineError, Unavailable
from order_engine.migration_router import MigrationRouter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flask import Response
    from flask.typing import ResponseReturnValue

    HttpRequest = tuple[str, str, list[tuple[bytes, bytes]], bytes]

NAME = "order_engine"
"""Key in `app.extensions`, and prefix of the endpoint names."""

METHODS = ("GET", "HEAD", "POST")
"""Methods that the engine answers. Flask answers the others; CORS extensions need OPTIONS."""


class OrderEngineExtension:
    """Serves the engine's HTTP API in a Flask app, in place of the app's own routes for it.

    Other routes of the app do not change. The app's hooks (`before_request`, `after_request`,
    CORS, sessions) run for the engine's responses too. Each worker process opens its engine with
    the first request that needs it; by default the engine also publishes events there
    (`ORDER_ENGINE_RELAY=false` leaves that to `order-engine relay`).

    The setting `migration_stage`, or `order-engine route` while the app runs, lets the app's own
    code answer some operations or users, with or without a comparison with the engine.

    Settings are read from the app's configuration, by the names of their environment variables:
    `SQLALCHEMY_DATABASE_URI` or `DATABASE_URL`, `RABBITMQ_URL` or `RABBITMQ_URI`,
    `JWT_SECRET_KEY`, `ORDER_ENGINE_ACCESS` and so on; then from the usual sources. A database must
    be configured.

    If a view raises an `OrderEngineError`, the response is JSON with a status such as 404
    for `NotFound` or 409 for `OutOfStock`. An error handler of the app takes precedence.

    Example:
        app = Flask(__name__)
        app.config.from_prefixed_env()
        OrderEngineExtension(app)

    Args:
        app: The app; or call `init_app` later.
        prefix: Path prefix: with `/shop` the API is at `/shop/graphql` and `/shop/`.
        paths: The paths to serve: `/graphql` (with the playground), `/`, and optionally `/healthz`,
            `/readyz` and `/metrics`.
        error_handlers: Whether to turn the engine's exceptions into JSON responses.
        **settings: Settings by name; they override the app's configuration.

    Raises:
        Misconfigured: Settings are missing or wrong; `problems` lists them all.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        prefix: str = "",
        paths: Iterable[str] = (http_api.GRAPHQL, "/"),
        error_handlers: bool = True,
        **settings: str | float | None,
    ) -> None:
        self._prefix = prefix.rstrip("/")
        self._paths = tuple(paths)
        self._has_error_handlers = error_handlers
        self._settings = settings
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Register the API in an app. Opens no connection, so that workers can be forked.

        Raises:
            Misconfigured: Settings are missing or wrong; `problems` lists them all.
        """
        flags = configuration.of_app(app.config) | configuration.given(self._settings)
        _native.validate_settings(flags)
        app.extensions[NAME] = _EngineOfApp(flags)
        for path in self._paths:
            # A rule makes the path known to url_for, OPTIONS and tools that list endpoints.
            app.add_url_rule(
                self._prefix + path,
                f"{NAME}.{path.strip('/') or 'root'}",
                self._answer,
                methods=["GET", "POST"] if path == http_api.GRAPHQL else ["GET"],
            )
        # Not a before_request hook: the app's own hooks, registered later, must run first, and its
        # view must be callable from here. Not a wrapper of its views: they may be added later.
        app.dispatch_request = self._wrap(app.dispatch_request)  # type: ignore[method-assign]
        if self._has_error_handlers:
            _register_error_handler(app)
        app.cli.add_command(app_commands.group(flags))

    def _wrap(
        self, dispatch: Callable[[], ResponseReturnValue]
    ) -> Callable[[], ResponseReturnValue]:
        """Answer requests to the API's paths; dispatch all others as before."""

        def dispatch_request() -> ResponseReturnValue:
            if request.method in METHODS and self._is_served(request.path):
                return self._route(dispatch)
            return dispatch()

        return dispatch_request

    def _is_served(self, path: str) -> bool:
        if not path.startswith(f"{self._prefix}/"):
            return False
        inner = path[len(self._prefix) :]
        assets = f"{http_api.GRAPHQL}/assets/"
        return inner in self._paths or (
            http_api.GRAPHQL in self._paths and inner.startswith(assets)
        )

    def _route(self, dispatch: Callable[[], ResponseReturnValue]) -> ResponseReturnValue:
        """Answer with the engine or the app's own view, as the migration router decides."""
        engine_of_app = _engine_of_app()
        if not self._select_own_view():
            return self._answer()
        http_request = self._http_request(keeps_body=True)
        decision = engine_of_app.router.receive(*http_request)
        stage = engine_of_app.stage if decision is None else decision.stage
        if stage == "engine":
            return self._answer(http_request)
        answer = dispatch()
        if decision is None or stage == "legacy":
            return answer
        response = current_app.make_response(answer)
        if not (response.is_streamed or response.direct_passthrough):
            decision.report_legacy(response.status_code, response.get_data())
        return response

    def _select_own_view(self) -> bool:
        """Route the request to the app's own view, if any; returns whether there is one."""
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

    def _http_request(self, *, keeps_body: bool) -> HttpRequest:
        """Return the request as arguments of `handle_http`, without the prefix."""
        inner = request.path[len(self._prefix) :]
        query = request.query_string.decode("latin-1")
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in request.headers
        ]
        return request.method, http_api.target(inner, query), headers, _body(keeps_body=keeps_body)

    def _answer(self, http_request: HttpRequest | None = None) -> Response:
        try:
            engine = _engine_of_app().engine
            answer = engine.handle_http(
                *(http_request or self._http_request(keeps_body=False)), client=request.remote_addr
            )
        except Unavailable as error:
            status, headers, text = http_api.unavailable_response(error)
            return current_app.response_class(text, status, headers)
        except InvalidInput as error:
            return current_app.response_class(str(error), 400, mimetype="text/plain")
        # A list: for bytes, Flask would set Content-Length, which is wrong for a HEAD request.
        body = [answer.body] if answer.stream is None else wsgi.StreamedBody(engine, answer.stream)
        response = current_app.response_class(
            body, answer.status, direct_passthrough=answer.stream is not None
        )
        # Replaced, because Flask adds a content type to a response without one.
        response.headers = Headers(wsgi.decode_headers(answer.headers))
        return response


class _EngineOfApp:
    """The engine and the migration router of one app."""

    def __init__(self, flags: dict[str, str]) -> None:
        self.engine = OrderEngine(**flags)  # type: ignore[arg-type]
        close_at_exit(self.engine)
        self.router = MigrationRouter(self.engine.migration_router)
        self.stage = configuration.value(flags, "migration_stage")


def _body(*, keeps_body: bool) -> bytes:
    """Return the body, even if a hook has read it before; a longer one is truncated.

    With `keeps_body`, the app's own view can read it again; Flask then limits its length.
    """
    length = request.content_length
    if length is None and not keeps_body:
        return request.stream.read(http_api.BODY_BYTES_MAX + 1)
    if length is None:
        return request.get_data()[: http_api.BODY_BYTES_MAX + 1]
    if length > http_api.BODY_BYTES_MAX:
        return bytes(http_api.BODY_BYTES_MAX + 1)
    return request.get_data()


def _register_error_handler(app: Flask) -> None:
    handlers = app.error_handler_spec[None][None]
    if OrderEngineError not in handlers:
        app.register_error_handler(OrderEngineError, _error_response)


def _error_response(error: OrderEngineError) -> ResponseReturnValue:
    body = jsonify(http_errors.error_body(error))
    return body, http_errors.http_status(error), http_errors.error_headers(error)


def _engine_of_app() -> _EngineOfApp:
    try:
        return cast("_EngineOfApp", current_app.extensions[NAME])
    except KeyError:
        raise RuntimeError(
            "This app has no OrderEngineExtension. Call its init_app(app)."
        ) from None


def _current() -> OrderEngine:
    return _engine_of_app().engine


current_order_engine: OrderEngine = cast("OrderEngine", LocalProxy(_current))
"""The engine of the current app; opened on first use."""
