"""The documents hold together: links, commands and variables exist, and what is made of the code is current."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from somagent.adapters.settings import Settings
from somagent.api.reference import api_reference
from somagent.api.reference_actions import with_actions
from somagent.api.reference_problems import OWN
from somagent.api.reference_shapes import anchor_of
from somagent.cli.app import app
from somagent.tests.journeys.documents import DOCS, ROOT, Block, blocks, missing_line

DOCUMENTS = (ROOT / "README.md", *sorted(DOCS.rglob("*.md")))
OPERATIONS = DOCS / "Operations.md"
CAPSULES = DOCS / "Capsules.md"

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_SOMAGENT = re.compile(r"(?:^|[`$ /])somagent ([a-z]+)(?: ([a-z][a-z-]*))?")
_MAKE = re.compile(r"(?:`|^)make ([a-z][a-z-]*)", re.MULTILINE)
_VARIABLE = re.compile(r"\b(?:SOMAGENT|SLM|POSTGRES|REDIS|KAFKA|TEMPORAL|SOMABRAIN)_[A-Z_]+\b")
_CLI_ROOMS = ("cli", "deploy/local", "examples", "tests")


def _id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def headings(path: Path) -> set[str]:
    prose = _FENCE.sub("", path.read_text(encoding="utf-8"))
    return {anchor_of(heading.replace("`", "")) for heading in _HEADING.findall(prose)}


def dead_links(path: Path) -> Iterator[str]:
    for link in _LINK.findall(_CODE.sub("", path.read_text(encoding="utf-8"))):
        if "://" in link or link.startswith("mailto:"):
            continue
        target, _, fragment = link.partition("#")
        found = (path.parent / target).resolve() if target else path
        if not found.exists() or (fragment and found.suffix == ".md" and fragment not in headings(found)):
            yield link


@pytest.mark.parametrize("document", DOCUMENTS, ids=_id)
def test_relative_links_lead_somewhere(document: Path) -> None:
    assert list(dead_links(document)) == []


def subcommands(name: str) -> set[str]:
    command = app[name]
    return {sub for sub in command if not sub.startswith("-")}


@pytest.mark.parametrize("document", DOCUMENTS, ids=_id)
def test_the_commands_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    known = {name for name in app if not name.startswith("-")}
    for name, following in _SOMAGENT.findall(text):
        if name in known and following:
            groups = subcommands(name)
            assert not groups or following in groups, f"somagent {name} {following}"
    named = {name for name, _ in _SOMAGENT.findall("\n".join(re.findall(r"`[^`\n]+`", text)) + _commands(document))}
    assert named <= known, f"somagent has no command {sorted(named - known)}"
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    made = set(_MAKE.findall(text + "\n" + _commands(document)))
    assert made <= targets | {"sure"}, f"make has no target {sorted(made - targets)}"


def _commands(document: Path) -> str:
    return "\n".join(block.text for block in blocks(document) if block.language in ("bash", "console", "sh"))


def _settings() -> set[str]:
    return {str(field.alias) for field in Settings.model_fields.values()}


def test_operations_names_every_variable_and_no_other() -> None:
    named = set(_VARIABLE.findall(OPERATIONS.read_text(encoding="utf-8")))
    read_elsewhere = {
        name
        for room in _CLI_ROOMS
        for module in (ROOT / room).rglob("*.py")
        for name in _VARIABLE.findall(module.read_text(encoding="utf-8"))
    }
    assert _settings() - named == set(), "Operations.md does not explain them"
    assert named - _settings() - read_elsewhere == set(), "nothing reads them"


def test_the_api_reference_is_current() -> None:
    assert (DOCS / "API.md").read_text(encoding="utf-8") == api_reference(), "run `make docs`"


def test_problem_codes_are_those_of_operations_that_exist() -> None:
    reference = api_reference()
    assert [name for name in OWN if f"### `{name}`" not in reference] == []


def test_the_table_of_actions_is_current() -> None:
    text = CAPSULES.read_text(encoding="utf-8")
    assert text == with_actions(text), "run `make docs`"


def _capsules() -> list[tuple[Block, Block | None]]:
    page = [*blocks(CAPSULES), None]
    return [
        (block, following if following is not None and following.language == "text" else None)
        for block, following in pairwise(page)
        if block is not None and block.language == "yaml" and block.text.startswith("id:")
    ]


@pytest.mark.parametrize(("capsule", "faults"), _capsules(), ids=lambda block: block and f"line {block.line}")
def test_the_capsules_shown_are_what_is_said_of_them(capsule: Block, faults: Block | None, tmp_path: Path) -> None:
    file = tmp_path / "capsule.yaml"
    file.write_text(capsule.text, encoding="utf-8")
    command = [str(Path(sys.executable).parent / "somagent"), "capsule", "check", str(file)]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=60, check=False)
    if faults is None:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 1
        assert missing_line(faults.text, done.stderr) is None, done.stderr
