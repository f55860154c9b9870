"""A person's decision, carried to a waiting workflow as an update whose answer is awaited for five seconds."""

from __future__ import annotations

import hashlib
from typing import TypeVar

from temporalio.client import Client, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from somagent.adapters.temporal.client import execute_update, is_undecided
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import Model

_REFUSED_FOR_NOW = frozenset({Code.PROPOSAL_NOT_READY, Code.REVIEW_NOT_READY})
_Answer = TypeVar("_Answer", bound=Model)


class WorkflowGoneError(Exception):
    """The workflow has ended, or was not started yet: the row knows more."""


def update_id(*parts: str) -> str:
    """The same decision asked twice is one update: the hash of object, person and key."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


async def ask(
    client: Client, workflow_id: str, update: str, argument: Model, identity: str, kind: type[_Answer]
) -> _Answer:
    """Send the update and await its answer.

    Raises:
        WorkflowGoneError: nobody waits for it.
        SomaError: the workflow's own refusal; ``decision_pending`` when there is no answer in time.
    """
    try:
        return await execute_update(client, workflow_id, update, argument, update_id=identity, result_type=kind)
    except WorkflowUpdateFailedError as error:
        raise _refusal(error) from error
    except WorkflowUpdateRPCTimeoutOrCancelledError as error:
        raise decision_pending() from error
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise WorkflowGoneError from error
        if is_undecided(error):
            raise decision_pending() from error
        raise
    except (OSError, RuntimeError) as error:  # a lazy client that has never reached Temporal
        raise decision_pending() from error


def decision_pending() -> SomaError:
    """Nobody knows yet whether it counts; the same request again tells."""
    return SomaError(
        Code.DECISION_PENDING,
        "The vote was not confirmed in time, and may count yet. Send the same request again: its answer is the truth.",
        retry_after=2,
    )


def _refusal(error: WorkflowUpdateFailedError) -> SomaError:
    cause = error.cause
    if isinstance(cause, ApplicationError) and cause.type in set(Code):
        code = Code(cause.type)
        return SomaError(code, cause.message, retry_after=1 if code in _REFUSED_FOR_NOW else None)
    return decision_pending()
