"""One Postgres for all tests of workflows; each has a Temporal and a tenant of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from somagent.tests.capsules.platform import Addresses, postgres


@pytest.fixture(scope="package")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    """A migrated Postgres."""
    with postgres(tmp_path_factory.mktemp("postgres") / "data") as running:
        yield running
