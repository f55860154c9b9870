"""``somagent doctor``: what this machine has, what is missing, how to get it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from somagent.cli.output import OutputFormat, say, show_json, show_table
from somagent.deploy.local.inspection import Finding, Verdict, inspect
from somagent.deploy.local.layout import Layout, default_data_dir
from somagent.domain.model import Model

_SIGNS = {Verdict.OK: "ok", Verdict.NOTE: "note", Verdict.MISSING: "MISSING"}


class DoctorDocument(Model):
    """What ``doctor --output json`` prints; ``healthy`` is false when something required is missing."""

    healthy: bool
    findings: list[Finding]


def doctor(
    *,
    data_dir: Annotated[Path | None, Parameter(help="The data dir of the stack that is asked about.")] = None,
    output: OutputFormat = "table",
) -> int:
    """Say what is missing on this machine, and how to get it."""
    layout = Layout.of(data_dir if data_dir is not None else default_data_dir())
    findings = inspect(layout)
    missing = [finding.part for finding in findings if finding.verdict is Verdict.MISSING]
    if output == "json":
        show_json(DoctorDocument(healthy=not missing, findings=findings))
        return 1 if missing else 0
    rows = [[finding.part, _SIGNS[finding.verdict], finding.detail, finding.advice] for finding in findings]
    show_table("This machine", ["part", "", "found", "what to do"], rows)
    say(f"Missing: {', '.join(missing)}." if missing else "Everything that is required is there.")
    return 1 if missing else 0
