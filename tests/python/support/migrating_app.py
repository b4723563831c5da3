"""A Flask application that is being migrated to the engine and still has its own handlers.

Its own handlers add the header `X-Answered-By`. They use the engine's data. The request header
`X-Own-Code` selects their behaviour:

- absent: they respond as the engine would;
- `a cent more`: they charge a cent too much;
- any other text: they do nothing and return that text.
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
    """The health check of a load balancer."""
    return Response("server running", headers={ANSWERED_BY: OWN})


def graphql() -> Response:
    """Answers a GraphQL request."""
    reported = request.headers.get(OWN_CODE, "")
    headers = {ANSWERED_BY: OWN}
    if reported not in ("", "a cent more"):
        return Response(reported, content_type="application/json", headers=headers)
    answer = current_order_engine.handle_http(
        request.method, request.full_path.rstrip("?"), list(request.headers), request.get_data()
    )
    body = json.loads(answer.body)
    if reported:
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
