"""The application factory: settings, database, routes."""

import os
from typing import Any

from ariadne import graphql_sync
from ariadne.explorer import ExplorerPlayground
from flask import Flask, Response, jsonify, request
from flask_migrate import Migrate

from tests.legacy_app.models import db
from tests.legacy_app.resolvers import schema

MIGRATIONS = os.path.join(os.path.dirname(__file__), "migrations")  # noqa: PTH118, PTH120 - its age.
PLAYGROUND = ExplorerPlayground(title="Order service")


def create_app(settings: dict[str, Any] | None = None) -> Flask:
    """Creates the application from the environment; `settings` override it.

    Raises:
        KeyError: a setting is missing.
    """
    app = Flask(__name__)
    app.config.from_mapping(settings)
    database = os.environ.get("SQLALCHEMY_DATABASE_URI") or os.environ.get("DATABASE_URL")
    app.config.setdefault("SQLALCHEMY_DATABASE_URI", database)
    for name in ("RABBITMQ_URL", "JWT_SECRET_KEY"):
        if name not in app.config:
            app.config[name] = os.environ[name]
    db.init_app(app)
    Migrate(app, db, directory=MIGRATIONS)
    app.add_url_rule("/", view_func=index)
    app.add_url_rule("/graphql", view_func=playground, methods=["GET"])
    app.add_url_rule("/graphql", view_func=graphql, methods=["POST"])
    return app


def index() -> str:
    """The health check of a load balancer."""
    return "server running"


def playground() -> str:
    """The playground."""
    return str(PLAYGROUND.html(None))


def graphql() -> tuple[Response, int]:
    """Executes a request; the status is 400 only if it is not valid GraphQL."""
    success, result = graphql_sync(schema, request.get_json(), context_value=request, debug=True)
    return jsonify(result), 200 if success else 400
