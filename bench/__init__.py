"""The benchmarks: the engine beside pgbench and others in one run; see docs/PERFORMANCE.md."""
