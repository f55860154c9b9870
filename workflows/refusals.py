"""How a workflow says no: a domain error as the failure that Temporal carries to the caller."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from temporalio.exceptions import ApplicationError

from somagent.domain.errors import SomaError


@contextmanager
def refusals() -> Iterator[None]:
    """Turn a domain error raised inside into an ``ApplicationError`` whose type is the error's code."""
    try:
        yield
    except SomaError as error:
        raise ApplicationError(error.detail, type=error.code.value, non_retryable=True) from error
