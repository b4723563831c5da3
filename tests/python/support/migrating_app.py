"""A Flask app in the middle of moving to the engine: its own code is still there beside it.

Its own code says by a header that it was the one who answered. It reads and writes the engine's
own data, and the header `X-Own-Code` of a request tells it how to behave:

- nothing: it answers as the engine would;
- `a cent more`: it asks for a cent more than it should;
- anything else: it does nothing and answers that text.
"""

import json

from flask import Flask, Response, request

from order_engine.flask import OrderEngineExtension, current_order_engine

ANSWERED_BY = "X-Answered-By"
OWN_CODE = "X-Own-Code"
OWN = "own code"


def add_routes(app: Flask) -> None:
    """Gives an app its own code."""
    app.add_url_rule("/graphql", view_func=graphql, methods=["GET", "POST"])
    app.add_url_rule("/", view_func=index)


def index() -> Response:
    """What a load balancer asks."""
    return Response("server running", headers={ANSWERED_BY: OWN})


def graphql() -> Response:
    """Answers a GraphQL request."""
    told = request.headers.get(OWN_CODE, "")
    headers = {ANSWERED_BY: OWN}
    if told not in ("", "a cent more"):
        return Response(told, content_type="application/json", headers=headers)
    answer = current_order_engine.answer_http(
        request.method, request.full_path.rstrip("?"), list(request.headers), request.get_data()
    )
    body = json.loads(answer.body)
    if told:
        for field in body["data"].values():
            for order in field["orders"] or []:
                order["total_amount"] += 0.01
    return Response(
        json.dumps(body), answer.status, content_type="application/json", headers=headers
    )


def create_app() -> Flask:
    """What gunicorn loads; settings come from the environment."""
    app = Flask(__name__)
    add_routes(app)
    OrderEngineExtension(app)
    return app
