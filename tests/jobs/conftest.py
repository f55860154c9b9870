"""People at the session's stack, and an outside party."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from somagent.client import SomaGent
from somagent.tests.harness import Stack
from somagent.tests.jobs.receiver import Receiver
from somagent.tests.jobs.workbench import Workbench

TENANT = "workshop"


@pytest.fixture(scope="session")
def workbench(stack: Stack, _issue_token: Callable[..., str]) -> Iterator[Workbench]:
    """One tenant for the whole session; capsules are published once."""
    tokens = {user: _issue_token(TENANT, user) for user in ("ada", "ben", "cyd")}
    with (
        SomaGent(stack.base_url, tokens["ada"], timeout=60) as ada,
        SomaGent(stack.base_url, tokens["ben"], timeout=60) as ben,
        SomaGent(stack.base_url, tokens["cyd"], timeout=60) as cyd,
    ):
        yield Workbench(TENANT, stack.base_url, tokens, ada, ben, cyd)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A web server of the test's own."""
    with Receiver() as running:
        yield running
