"""Stacks of these tests' own, beside the one that the other tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from somagent.tests.harness import LocalStack, new_stack


@pytest.fixture(scope="package")
def running() -> Iterator[LocalStack]:
    """One stack for the tests that leave it whole."""
    stack = new_stack()
    stack.up()
    yield stack
    stack.destroy()


@pytest.fixture
def local() -> Iterator[LocalStack]:
    """A stack that is not up yet."""
    stack = new_stack()
    yield stack
    stack.destroy()
