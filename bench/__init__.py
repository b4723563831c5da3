"""The benchmarks: the engine beside pgbench in one run; see docs/PERFORMANCE.md."""
