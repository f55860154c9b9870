"""An installation as a saga: each step has what undoes it, and a failure anywhere leaves no trace."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from somagent.domain.errors import Code
from somagent.domain.messages.installation import (
    INSTALLATION_WORKFLOW,
    FailedInstallation,
    InstallationFailure,
    InstallationRef,
    InstallationResult,
    InstallationState,
    InstallationStatus,
    InstallationStep,
)
from somagent.workflows.attributes import SOMA_STATUS
from somagent.workflows.ports.installation import INSTALLATION_ACTIVITY, InstallationActivities

_Act = Callable[[InstallationActivities, InstallationRef], Awaitable[None]]

_DO: Final[dict[InstallationStep, _Act]] = {
    InstallationStep.VERIFY_ATTESTATION: InstallationActivities.verify_attestation,
    InstallationStep.CHECK_SCOPE: InstallationActivities.check_scope,
    InstallationStep.CHECK_TOOLS: InstallationActivities.check_tools,
    InstallationStep.RESERVE_NAMESPACE: InstallationActivities.reserve_namespace,
    InstallationStep.RESERVE_BUDGET: InstallationActivities.reserve_budget,
    InstallationStep.ACTIVATE: InstallationActivities.activate,
}
_UNDO: Final[dict[InstallationStep, _Act]] = {
    InstallationStep.RESERVE_NAMESPACE: InstallationActivities.release_namespace,
    InstallationStep.RESERVE_BUDGET: InstallationActivities.restore_budget,
    InstallationStep.ACTIVATE: InstallationActivities.deactivate,
}


@workflow.defn(name=INSTALLATION_WORKFLOW)
class CapsuleInstallationWorkflow:
    """Takes the steps in order; on failure undoes, in reverse, those that may have had an effect."""

    @workflow.init
    def __init__(self, state: InstallationState) -> None:
        self._state = state

    @workflow.run
    async def run(self, state: InstallationState) -> InstallationResult:
        """Until the capsule is installed; fails, with everything undone, when it cannot be."""
        # A step is never interrupted in the middle: a request to cancel is looked at before the next one.
        saga = asyncio.create_task(self._install())
        try:
            await asyncio.shield(saga)
        except asyncio.CancelledError:
            self._state.cancelled = True
            await saga
        return InstallationResult(installation_id=self._state.installation_id, status=self._state.status)

    async def _install(self) -> None:
        for step in InstallationStep:
            if self._state.cancelled:
                await self._fail(InstallationFailure(code=Code.CANCELLED.value, detail="Cancelled by an operator."))
            # Noted before it is taken: a failed attempt, too, may have left something.
            self._state.begun = (*self._state.begun, step)
            try:
                await self._act(_DO[step], step.value)
            except ActivityError as error:
                await self._fail(_failure(error, step))
        self._conclude(InstallationStatus.INSTALLED)

    async def _fail(self, failure: InstallationFailure) -> None:
        for step in reversed(self._state.begun):
            if step in _UNDO:
                await self._act(_UNDO[step], f"undo {step.value}")
        await workflow.execute_activity_method(
            InstallationActivities.fail,
            FailedInstallation(installation=self._state.ref, failure=failure),
            summary=failure.code,
            **INSTALLATION_ACTIVITY,
        )
        self._conclude(InstallationStatus.FAILED)
        raise ApplicationError(failure.detail, type=failure.code, non_retryable=True)

    async def _act(self, act: _Act, summary: str) -> None:
        await workflow.execute_activity_method(act, self._state.ref, summary=summary, **INSTALLATION_ACTIVITY)

    def _conclude(self, status: InstallationStatus) -> None:
        self._state.status = status
        workflow.upsert_search_attributes([SOMA_STATUS.value_set(status.value)])


def _failure(error: ActivityError, step: InstallationStep) -> InstallationFailure:
    cause = error.cause
    if isinstance(cause, ApplicationError):
        return InstallationFailure(code=cause.type or Code.INTERNAL_ERROR.value, detail=cause.message, step=step)
    return InstallationFailure(code=Code.INTERNAL_ERROR.value, detail="The step did not end in time.", step=step)
