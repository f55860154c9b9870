"""``somagent capsule``: check, hash and submit, as authors type them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from somagent.client.client import attestation_hash
from somagent.tests.harness import Stack, clean_environment

Token = Callable[..., str]

SOUND = """\
id: command_greeting
version: 1.0.0
summary: Greets one person by name in a text
type: utility
inputs: [{name: who, type: string, required: true, description: Whom to greet}]
outputs: {text: "{{ steps.greet.output.text }}"}
tools: [{adapter: text, actions: [template]}]
policies: {max_duration_seconds: 60}
workflow:
  steps:
    - {id: greet, action: text.template, params: {template: "Hello {{ inputs.who }}"}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "greeting.yaml"
    path.write_text(SOUND)
    return path


def run(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """One ``somagent capsule ...`` to its end."""
    command = [str(Path(sys.executable).parent / "somagent"), "capsule", *map(str, arguments)]
    return subprocess.run(
        command, env={**clean_environment(), **environment}, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_sound_capsule(file: Path) -> None:
    done = run("check", file)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "command_greeting 1.0.0 can run: 1 step, no faults.\n"
    assert json.loads(run("check", file, "--output", "json").stdout)["sound"] is True


def test_every_fault_with_its_path(file: Path) -> None:
    file.write_text(SOUND.replace("1.0.0", "1.0").replace("inputs.who", "inputs.whom"))
    done = run("check", file)
    assert (done.returncode, done.stdout) == (1, "")
    assert "  version: must be a string; YAML takes numbers" in done.stderr
    assert "  workflow.steps[0].params.template: there is no input 'whom'; did you mean 'who'?" in done.stderr
    faults = json.loads(run("check", file, "--output", "json").stdout)["faults"]
    assert {fault["path"] for fault in faults} >= {"version", "workflow.steps[0].params.template"}
    for command in (("hash", file), ("submit", file, "--owner", "us", "--dry-run")):
        refused = run(*command)
        assert (refused.returncode, refused.stdout) == (1, "")


@pytest.mark.parametrize("content", [None, "id: [", "- a\n- b\n", "id: a\nid: b\n"])
def test_what_is_no_capsule_file(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "odd.yaml"
    if content is not None:
        path.write_text(content)
    done = run("check", path)
    assert done.returncode == 1
    assert done.stderr.startswith("The file odd.yaml ")
    assert "Traceback" not in done.stderr


def test_the_hash_is_that_of_the_submission(file: Path) -> None:
    printed = run("hash", file).stdout.strip()
    body = json.loads(run("submit", file, "--owner", "us", "--dry-run").stdout)
    assert printed == body["attestation_hash"] == attestation_hash(body["definition"])
    assert (body["capsule_id"], body["version"], body["owner"]) == ("command_greeting", "1.0.0", "us")


def test_submit(stack: Stack, token: Token, file: Path) -> None:
    author = token("command-tenant", "author")
    where = {"SOMAGENT_DATA_DIR": str(stack.data_dir)}
    done = run("submit", file, "--owner", "us", SOMAGENT_TOKEN=author, **where)
    assert done.returncode == 0, done.stderr
    submission_id = done.stdout.splitlines()[-1]
    answer = httpx.get(
        f"{stack.base_url}/v1/submissions/{submission_id}", headers={"Authorization": f"Bearer {author}"}
    )
    assert answer.json()["capsule_id"] == "command_greeting"
    again = run("submit", file, "--owner", "us", "--url", stack.base_url, SOMAGENT_TOKEN=author)
    assert again.returncode == 1
    assert "submission_exists" in again.stderr
    reader = token("command-tenant", "reader", "capsule:read")
    refused = run("submit", file, "--owner", "us", SOMAGENT_TOKEN=reader, **where)
    assert refused.returncode == 1
    assert "capability_missing" in refused.stderr
    assert reader not in refused.stderr


def test_submit_without_what_it_needs(file: Path, tmp_path: Path) -> None:
    nobody = run("submit", file, "--owner", "us", SOMAGENT_DATA_DIR=str(tmp_path))
    assert nobody.returncode == 2
    assert "SOMAGENT_TOKEN" in nobody.stderr
    nowhere = run("submit", file, "--owner", "us", SOMAGENT_TOKEN="x", SOMAGENT_DATA_DIR=str(tmp_path))
    assert nowhere.returncode == 3
    away = run("submit", file, "--owner", "us", "--url", "http://127.0.0.1:9", SOMAGENT_TOKEN="x")
    assert away.returncode == 3
    assert "does not answer" in away.stderr
