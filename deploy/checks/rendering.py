"""Rendering the chart with the real helm."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

from somagent.deploy.checks.report import DEPLOY

CHART = DEPLOY / "helm" / "somagent"
VALUES = ("minimal", "everything", "external")
KUBE_VERSION = "1.31.0"
RELEASE = "demo"

Document = dict[str, Any]


class HelmRefused(Exception):
    """helm ended with a fault; its words are the message."""


def render(helm: Path, values: Path, *settings: str) -> list[Document]:
    """The documents of the chart under a values file.

    Args:
        settings: more values, as ``--set`` takes them.

    Raises:
        HelmRefused: the values or a template are wrong.
    """
    extra = [argument for setting in settings for argument in ("--set", setting)]
    text = _helm(helm, "template", RELEASE, str(CHART), "--kube-version", KUBE_VERSION, "--values", str(values), *extra)
    return [document for document in yaml.safe_load_all(text) if document]


def lint(helm: Path, values: Path) -> None:
    """``helm lint --strict``.

    Raises:
        HelmRefused: something is wrong.
    """
    _helm(helm, "lint", str(CHART), "--strict", "--kube-version", KUBE_VERSION, "--values", str(values))


def _helm(helm: Path, *arguments: str) -> str:
    done = subprocess.run(
        [helm, *arguments], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        raise HelmRefused((done.stderr or done.stdout).strip())
    return done.stdout
