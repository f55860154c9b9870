"""A stack to break, beside the one that other tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from somagent.tests.faults.breakage import Breakable
from somagent.tests.harness import describe, new_stack


@pytest.fixture(scope="module")
def breakable() -> Iterator[Breakable]:
    """A stack of its own, with people; destroyed at the end."""
    local = new_stack(SOMAGENT_EGRESS_ALLOW="127.0.0.1", SOMAGENT_RATE_LIMITS='{"http": 6000}')
    try:
        local.up()
        with Breakable.of(describe(local)) as running:
            yield running
    finally:
        local.destroy()
