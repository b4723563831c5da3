"""Programs for developers of the engine."""
