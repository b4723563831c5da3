"""What gunicorn and `flask` load: the old service as it is."""

from tests.legacy_app import create_app

app = create_app()
