"""``up`` makes the first administrator, says the password once, and lets it slip nowhere else."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest

from somagent.tests.harness import LocalStack, new_stack


@pytest.fixture
def fresh() -> Iterator[LocalStack]:
    """A data folder that nobody has used."""
    stack = new_stack()
    yield stack
    stack.destroy()


def log_in(stack: LocalStack, password: str) -> httpx.Response:
    body = {"tenant_id": "default", "user_id": "admin", "password": password}
    return httpx.post(f"http://127.0.0.1:{stack.port}/v1/tokens/issue", json=body, trust_env=False, timeout=30)


def test_the_first_administrator(fresh: LocalStack) -> None:
    printed = fresh.up()
    said = re.search(r"^First administrator: admin / (\S+) \(kept in (.+)\)$", printed, re.MULTILINE)
    assert said is not None, printed
    password, file = said[1], fresh.data_dir / "admin-password"
    assert file.resolve() == file.parent.resolve() / said[2].rpartition("/")[2]
    assert file.read_text().strip() == password
    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(log_in(fresh, password).json()["capabilities"]) == ["*", "kill:global", "tenant:any"]
    for again in (fresh.up(), fresh.down() + fresh.up()):
        assert "First administrator" not in again
        assert password not in again
    assert log_in(fresh, password).status_code == 200

    reset = fresh.run("users", "reset-password")
    assert reset.returncode == 0, reset.stderr
    new = reset.stdout.splitlines()[-1]
    assert log_in(fresh, new).status_code == 200
    assert log_in(fresh, password).status_code == 401
    assert file.read_text().strip() == new
    fresh.down()
    for folder in ("logs", "run", "redis", "temporal"):
        for kept in (fresh.data_dir / folder).rglob("*"):
            if kept.is_file():
                content = kept.read_bytes()
                assert password.encode() not in content, kept
                assert new.encode() not in content, kept
