"""Adopting an existing database, and moving a Flask service to the engine."""
