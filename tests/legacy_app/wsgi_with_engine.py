"""The old service with the line that lets the engine serve its endpoints."""

from order_engine.flask import OrderEngineExtension
from tests.legacy_app import create_app

app = create_app()
OrderEngineExtension(app)
