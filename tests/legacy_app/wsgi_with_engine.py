"""The old service with the one line that puts the engine behind its doors."""

from order_engine.flask import OrderEngineExtension
from tests.legacy_app import create_app

app = create_app()
OrderEngineExtension(app)
