"""Benchmarks that measure the engine, pgbench and other programs together: docs/PERFORMANCE.md."""
