"""Finds the metrics and labels in a PromQL expression."""

import re
from dataclasses import dataclass

# Keywords that can stand where a metric name can.
WORDS = frozenset({"and", "or", "unless", "bool", "offset"})
STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
RANGE = re.compile(r"\[[^\]]*\]")
GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
SELECTOR = re.compile(r"\b([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}")
MATCHER = re.compile(r'\s*(\w+)\s*(?:=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*')
FUNCTION = re.compile(r"\b[a-z_0-9]+\s*(?=\()")
NAME = re.compile(r"\b[a-zA-Z_:][\w:]*\b")


@dataclass(frozen=True)
class Named:
    """What an expression names."""

    metrics: dict[str, dict[str, str]]
    """Each metric with the labels that it is selected by, and their values."""
    grouped_by: frozenset[str]
    """The labels that series are grouped or matched by."""


def named(expression: str) -> Named:
    """Reads an expression.

    Raises:
        AssertionError: a selector is not of the form `name{label="value", …}`.
    """
    metrics: dict[str, dict[str, str]] = {}
    for name, matchers in SELECTOR.findall(expression):
        metrics.setdefault(name, {}).update(_matchers(matchers))
    rest = SELECTOR.sub(" ", expression)
    grouped_by = {name for group in GROUPING.findall(rest) for name in NAME.findall(group)}
    for noise in (STRING, GROUPING, RANGE, FUNCTION):
        rest = noise.sub(" ", rest)
    for name in NAME.findall(rest):
        if name not in WORDS:
            metrics.setdefault(name, {})
    return Named(metrics, frozenset(grouped_by))


def _matchers(text: str) -> dict[str, str]:
    found = {}
    for part in filter(str.strip, re.split(r',(?=(?:[^"]*"[^"]*")*[^"]*$)', text)):
        matcher = MATCHER.fullmatch(part)
        assert matcher is not None, f"{part!r} is no matcher"
        found[matcher[1]] = matcher[2]
    return found
