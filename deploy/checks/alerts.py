"""Alerts, runbooks and dashboard: promtool's word for the expressions, and that every name leads somewhere."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from somagent.deploy.checks import known
from somagent.deploy.checks.gotools import PROMTOOL, require
from somagent.deploy.checks.report import DEPLOY, ROOT, Report

ALERTS = DEPLOY / "alerts"
RUNBOOKS = ROOT / "docs" / "runbooks"
DASHBOARDS = DEPLOY / "dashboards"
PROMETHEUS = DEPLOY / "compose" / "monitoring" / "prometheus.yml"
SEVERITIES = frozenset({"critical", "warning", "info"})

_LABELS = re.compile(r'"(?:[^"\\]|\\.)*"|\{[^{}]*\}|\[[^\]]*\]|\b(?:by|without|on|ignoring)\s*\([^)]*\)')
_NAME = re.compile(r"\b[a-zA-Z_:][a-zA-Z0-9_:]*\b(?!\s*\()")
_WORDS = frozenset({"and", "or", "unless", "bool", "inf", "nan"})


@dataclass(frozen=True, slots=True)
class Alert:
    """One rule."""

    name: str
    expression: str
    severity: str
    runbook: str


def read_alerts() -> list[Alert]:
    """Every alert of every rules file."""
    return [
        Alert(
            name=rule["alert"],
            expression=rule["expr"],
            severity=rule.get("labels", {}).get("severity", ""),
            runbook=rule.get("annotations", {}).get("runbook_url", ""),
        )
        for path in sorted(ALERTS.glob("*.yaml"))
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    ]


def dashboard_expressions() -> list[str]:
    """Every query of every dashboard, with Grafana's variables put in."""
    found = [
        target["expr"]
        for path in sorted(DASHBOARDS.glob("*.json"))
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]
        for target in panel.get("targets", [])
    ]
    return [expression.replace("$__rate_interval", "5m") for expression in found]


def metrics_of(expression: str) -> set[str]:
    """The names of the series that a PromQL expression reads."""
    bare = _LABELS.sub(" ", _LABELS.sub(" ", expression))
    return {name for name in _NAME.findall(bare) if name.lower() not in _WORDS}


def name_faults() -> Iterator[str]:
    """Metrics that nobody exports, runbooks that are not there or belong to no alert."""
    exported = known.metric_names()
    alerts = read_alerts()
    for alert in alerts:
        if alert.severity not in SEVERITIES:
            yield f"{alert.name}: severity is none of {', '.join(sorted(SEVERITIES))}"
        if alert.runbook != f"docs/runbooks/{alert.name}.md":
            yield f"{alert.name}: runbook_url is {alert.runbook or 'missing'}, not docs/runbooks/{alert.name}.md"
        elif not (ROOT / alert.runbook).is_file():
            yield f"{alert.name}: {alert.runbook} is not there"
        yield from (f"{alert.name}: nothing exports {name}" for name in sorted(metrics_of(alert.expression) - exported))
    for name in sorted({path.stem for path in RUNBOOKS.glob("*.md")} - {alert.name for alert in alerts}):
        yield f"docs/runbooks/{name}.md belongs to no alert"
    for expression in dashboard_expressions():
        yield from (f"dashboard: nothing exports {name}" for name in sorted(metrics_of(expression) - exported))


def check_alerts(report: Report) -> None:
    """Checks names, then has promtool parse every expression and run the rules' own tests."""
    for fault in name_faults():
        report.fault("alerts", fault)
    promtool = require(PROMTOOL, report.say)
    with tempfile.TemporaryDirectory() as folder:
        for what, arguments in (
            ("rules", ["check", "rules", "--lint-fatal", *sorted(map(str, ALERTS.glob("*.yaml")))]),
            ("tests of the rules", ["test", "rules", *sorted(map(str, (ALERTS / "tests").glob("*.yaml")))]),
            ("dashboard", ["check", "rules", str(_as_rules(dashboard_expressions(), Path(folder)))]),
            ("prometheus.yml", ["check", "config", str(_with_our_alerts(Path(folder)))]),
        ):
            done = subprocess.run(
                [promtool, *arguments],
                capture_output=True,
                text=True,
                timeout=120,
                stdin=subprocess.DEVNULL,
                check=False,
            )
            if done.returncode:
                report.fault(what, (done.stdout + done.stderr).strip())
    panels = len(dashboard_expressions())
    report.say(f"alerts: {len(read_alerts())} rules with runbooks, {panels} queries of the dashboard, by promtool")


def _as_rules(expressions: list[str], folder: Path) -> Path:
    """The queries as recording rules, which is a form that promtool parses."""
    rules: list[dict[str, Any]] = [
        {"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(expressions)
    ]
    path = folder / "dashboard.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
    return path


def _with_our_alerts(folder: Path) -> Path:
    """Prometheus' configuration with the paths of this tree in the place of the container's."""
    path = folder / "prometheus.yml"
    text = PROMETHEUS.read_text(encoding="utf-8").replace("/etc/prometheus/alerts", str(ALERTS))
    path.write_text(text, encoding="utf-8")
    return path
