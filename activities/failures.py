"""Domain errors as Temporal carries them: here alone is decided what is tried again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import structlog
from temporalio.exceptions import ApplicationError, FailureError

from somagent.domain.errors import Code, SomaError

log = structlog.get_logger(__name__)

_LONGEST_MESSAGE = 4000


def to_application_error(error: SomaError) -> ApplicationError:
    """``error`` with its code as type, retryable or not as its category says, and its own delay where it has one."""
    return ApplicationError(
        error.detail[:_LONGEST_MESSAGE],
        type=error.code.value,
        non_retryable=not error.retryable,
        next_retry_delay=timedelta(seconds=error.retry_after) if error.retry_after and error.retryable else None,
    )


@contextmanager
def translated() -> Iterator[None]:
    """The edge of an activity: what leaves it is an ``ApplicationError``.

    An error that is not ours may carry a statement with its parameters: its text goes to the log, its class's name
    to Temporal, and the activity is tried again. Cancellation and asynchronous completion pass untouched.
    """
    try:
        yield
    except SomaError as error:
        raise to_application_error(error) from error
    except FailureError:
        raise
    except Exception as error:
        log.exception("activity_failed")
        raise ApplicationError(
            f"An activity met an unexpected {type(error).__name__}; the worker's log has the rest.",
            type=Code.INTERNAL_ERROR.value,
        ) from None
