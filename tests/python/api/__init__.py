"""The Python API, and what every API keeps: idempotency, stock, validation, consumers, sinks."""
