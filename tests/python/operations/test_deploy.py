"""The dashboard and the alerts of deploy/ use only metrics of docs/METRICS.md, and work."""

import json
import re
import shutil
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.python.support import metrics_catalogue
from tests.python.support.missing_tools import skip_or_fail
from tests.python.support.promql import Named, named

ROOT = Path(__file__).parents[3]
DASHBOARD = ROOT / "deploy" / "grafana" / "order-engine.json"
RULES = ROOT / "deploy" / "prometheus" / "order-engine.rules.yml"
RULES_TEST = ROOT / "tests" / "prometheus" / "alerts.test.yml"
# Labels that Prometheus adds to every series.
OF_THE_TARGET = frozenset({"job", "instance"})
TEMPLATE = re.compile(r"\{\{\s*\$labels\.(\w+)\s*\}\}")
LEGEND = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def dashboard() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return read


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def shown() -> list[str]:
    """Every expression of the dashboard."""
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def check(expression: str) -> Named:
    """Checks an expression against the catalogue; returns its metrics and labels."""
    known, values = metrics_catalogue.sample_names(), metrics_catalogue.label_values()
    found = named(expression)
    assert found.metrics, expression
    labels = set(OF_THE_TARGET)
    for name, matchers in found.metrics.items():
        assert name in known, f"{name} is not in docs/METRICS.md"
        labels |= known[name]
        for label, value in matchers.items():
            assert label in known[name] | OF_THE_TARGET, f"{name} has no label {label}"
            if label in values and "$" not in value:
                assert set(value.split("|")) <= values[label], f"{label} is never {value}"
    assert found.grouped_by <= labels, expression
    return found


def test_expressions_are_read_as_prometheus_reads_them() -> None:
    found = named('sum by (a, le) (rate(x{b=~"c|d", e!="f, g"}[5m])) > 1 and on (h) time() - y')
    assert found.metrics == {"x": {"b": "c|d", "e": "f, g"}, "y": {}}
    assert found.grouped_by == {"a", "le", "h"}
    with pytest.raises(AssertionError, match="no matcher"):
        named("x{b}")


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("rate(order_engine_order_total[5m])", "not in docs/METRICS.md"),
        ('order_engine_outbox_messages{topic="x"}', "no label topic"),
        ('order_engine_component_up{component="postgres"}', "never postgres"),
        ("sum by (user) (order_engine_subscriptions)", "by .user."),
    ],
)
def test_a_metric_that_is_not_in_the_catalogue_is_found(expression: str, problem: str) -> None:
    with pytest.raises(AssertionError, match=problem):
        check(expression)


def test_the_dashboard_shows_what_the_catalogue_lists() -> None:
    seen = {name for expression in shown() for name in check(expression).metrics}
    stems = {re.sub(r"_(bucket|sum|count)$", "", name) for name in seen}
    assert stems == metrics_catalogue.families().keys(), "every family is on the dashboard"


def test_the_variables_of_the_dashboard_are_defined_and_used() -> None:
    variables = {each["name"]: each for each in dashboard()["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", DASHBOARD.read_text())) - {"__rate_interval", "__all"}
    assert used == variables.keys()
    known = metrics_catalogue.sample_names()
    for variable in variables.values():
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((\w+)(\{.*\})?, (\w+)\)", variable["definition"])
            assert asked is not None, variable
            assert asked[3] in known[asked[1]] | OF_THE_TARGET
            assert variable["query"]["query"] == variable["definition"]


def test_panels_say_what_they_show_and_do_not_overlap() -> None:
    everything = dashboard()["panels"]
    ids = [panel["id"] for panel in everything]
    assert len(ids) == len(set(ids))
    for panel in panels():
        assert panel["title"], panel
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        for target in panel["targets"]:
            legend = set(LEGEND.findall(target["legendFormat"]))
            labels = named(target["expr"]).grouped_by | OF_THE_TARGET
            alone = {name for part in labels_of(target["expr"]) for name in part}
            assert legend <= labels | alone, panel["title"]
    for one, other in combinations([panel["gridPos"] for panel in everything], 2):
        is_beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        is_below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert is_beside or is_below, (one, other)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in everything)


def labels_of(expression: str) -> list[frozenset[str]]:
    """The labels of an expression's metrics, if it does not aggregate."""
    found = named(expression)
    if found.grouped_by:
        return []
    known = metrics_catalogue.sample_names()
    return [known[name] for name in found.metrics]


def test_alerts_name_what_the_catalogue_lists_and_say_what_to_do() -> None:
    assert len({alert["alert"] for alert in alerts()}) == len(alerts())
    for alert in alerts():
        found = check(alert["expr"])
        assert alert["labels"]["severity"] in ("critical", "warning"), alert["alert"]
        texts = alert["annotations"]
        assert texts.keys() == {"summary", "description", "action"}, alert["alert"]
        assert all(text.endswith(".") for text in texts.values()), alert["alert"]
        reported = set(TEMPLATE.findall(" ".join(texts.values())))
        kept = found.grouped_by | {name for part in labels_of(alert["expr"]) for name in part}
        assert reported <= kept | OF_THE_TARGET, alert["alert"]


def test_commands_in_alerts_exist() -> None:
    commands = {
        command
        for alert in alerts()
        for command in re.findall(r"`(order-engine [^`]+)`", alert["annotations"]["action"])
    }
    assert commands
    for command in commands:
        words = [word for word in command.split()[1:] if word.islower()]
        done = subprocess.run(
            [sys.executable, "-m", "order_engine", *words, "--help"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, command


def test_every_alert_fires_on_its_fault_and_none_on_a_healthy_engine() -> None:
    tested = set(re.findall(r'alertname="(\w+)"', RULES_TEST.read_text()))
    assert tested == {alert["alert"] for alert in alerts()}
    promtool("check", "rules", RULES)
    promtool("test", "rules", RULES_TEST)


def test_prometheus_can_evaluate_what_the_dashboard_asks(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, expression in enumerate(shown())
    ]
    file = tmp_path / "dashboard.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", file)


def promtool(*arguments: str | Path) -> None:
    program = shutil.which("promtool")
    if program is None:
        skip_or_fail("promtool is not installed: `python3 -m tests.services install`")
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
