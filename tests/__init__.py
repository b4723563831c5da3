"""The root of the test packages, so that `python -m tests.services` finds this folder first."""
