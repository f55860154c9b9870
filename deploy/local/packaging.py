"""Checks that pyproject.toml lists every package of the tree: one left out would be missing from the wheel only."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent.parent
_NOT_SHIPPED = frozenset({"tests", "docs", "build", "dist", "node_modules", "console"})


def main() -> int:
    """0 when list and tree are the same; else says what differs."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(project["tool"]["setuptools"]["packages"])
    present = packages_of(_ROOT)
    for package in sorted(present - listed):
        sys.stdout.write(f"pyproject.toml: add {package} to tool.setuptools.packages\n")
    for package in sorted(listed - present):
        sys.stdout.write(f"pyproject.toml: {package} is listed and has no __init__.py\n")
    return 0 if present == listed else 1


def packages_of(root: Path) -> set[str]:
    """The packages under the root, which is itself the package ``somagent``."""
    packages = {"somagent"}
    for folder in (path for path in root.iterdir() if path.is_dir()):
        if folder.name.startswith(".") or folder.name in _NOT_SHIPPED:
            continue
        for marker in folder.rglob("__init__.py"):
            packages.add(".".join(["somagent", *marker.parent.relative_to(root).parts]))
    return packages


if __name__ == "__main__":
    sys.exit(main())
