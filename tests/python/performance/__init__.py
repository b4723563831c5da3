"""Costs that are counted, not timed: statements, rows, query plans; and the load generator."""
