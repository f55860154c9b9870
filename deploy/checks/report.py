"""What the checks say: progress as they go, faults at the end."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
"""The repository."""
DEPLOY = ROOT / "deploy"


class Report:
    """Collects faults; a check with none is good."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def say(self, text: str) -> None:
        """A line of progress."""
        sys.stdout.write(f"[deploy-check] {text}\n")
        sys.stdout.flush()

    def fault(self, where: str, what: str) -> None:
        """Something that has to be mended."""
        self.faults.append(f"{where}: {what}")
        self.say(f"FAULT {where}: {what}")
