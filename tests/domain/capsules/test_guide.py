"""The guide's own example is a capsule, and a good one."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from somagent.domain.canonical import sha256_hex
from somagent.domain.capsules.findings import Subject, all_findings

_GUIDE = Path(__file__).parents[3] / "docs" / "Capsules.md"


def test_the_guides_example_passes_its_review() -> None:
    example = re.findall(r"```yaml\n(id:.*?)```", _GUIDE.read_text(encoding="utf-8"), re.DOTALL)[0]
    raw = yaml.safe_load(example)
    found = all_findings(Subject(raw, sha256_hex(raw)))
    assert [finding.code for finding in found if finding.severity != "info"] == ["uses_http"], found
