"""A Flask app with the extension, for gunicorn.

With `OPEN_BEFORE_FORK` in the environment it has used its engine before any worker is forked.
"""

import os

from flask import Flask, Response

from order_engine.flask import OrderEngineExtension, current_order_engine
from tests.deployments.worker import HEADER, worker

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
app.config["RABBITMQ_URL"] = os.environ["RABBITMQ_URL"]
app.config["JWT_SECRET_KEY"] = os.environ["JWT_SECRET_KEY"]
OrderEngineExtension(app)


@app.after_request
def name_worker(response: Response) -> Response:
    """The application's hooks run for the engine's responses too."""
    response.headers[HEADER] = worker()
    return response


if "OPEN_BEFORE_FORK" in os.environ:
    with app.app_context():
        current_order_engine.health()
