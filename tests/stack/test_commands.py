"""The command line's manners: exit codes, doctor, logs."""

from __future__ import annotations

import json

import pytest

from somagent.tests.harness import LocalStack


@pytest.mark.parametrize(
    "arguments",
    [
        ("up", "--port", "eighty"),
        ("up", "--port", "70000"),
        ("up", "--share", "no-folder"),
        ("up", "--share", "name=/there/is/no/such/folder"),
        ("up", "--share", "../x=/tmp"),
        ("status", "--output", "xml"),
        ("dance",),
    ],
)
def test_wrong_use_is_exit_code_2(local: LocalStack, arguments: tuple[str, ...]) -> None:
    assert local.run(*arguments).returncode == 2


def test_without_a_stack_nothing_is_reachable(local: LocalStack) -> None:
    assert local.run("status").returncode == 3
    assert local.run("logs").returncode == 3
    assert local.run("down").returncode == 0


def test_doctor_finds_what_set_up_has_put_there(local: LocalStack) -> None:
    done = local.run("doctor", "--output", "json")
    document = json.loads(done.stdout)
    verdicts = {finding["part"]: finding["verdict"] for finding in document["findings"]}
    assert done.returncode == 0
    assert document["healthy"] is True
    assert {verdicts[part] for part in ("python", "temporal", "postgres", "redis", "disk")} == {"ok"}


def test_doctor_says_what_is_missing_and_how_to_get_it(local: LocalStack) -> None:
    bare = LocalStack(local.data_dir, local.port, {"PATH": "/nowhere", "SOMAGENT_CACHE": str(local.data_dir)})
    done = bare.run("doctor", "--output", "json")
    findings = {finding["part"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert done.returncode == 1
    assert findings["temporal"]["verdict"] == "missing"
    assert "make setup" in findings["temporal"]["advice"]
