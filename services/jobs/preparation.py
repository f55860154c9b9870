"""From a step's definition to an act: condition, references, parameters, verdict, and the digest people approve."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from pydantic import BaseModel, JsonValue, ValidationError

from somagent.domain.actions import ActionSpec, action
from somagent.domain.canonical import sha256_hex
from somagent.domain.capsules.conditions import evaluate
from somagent.domain.capsules.definition import CapsuleDefinition, Step
from somagent.domain.capsules.needs import referenced_steps
from somagent.domain.capsules.stepparams import resolve_params
from somagent.domain.errors import Code, Fault, SomaError
from somagent.domain.policy.law import Law
from somagent.domain.policy.scoring import Verdict
from somagent.services.jobs.store import JobState
from somagent.services.jobs.verdicts import verdict_on_step


@dataclass(frozen=True, slots=True)
class Prepared:
    """A step ready to run. ``params`` is the action's model; ``arguments`` the same as JSON."""

    spec: ActionSpec
    params: BaseModel
    arguments: JsonValue
    verdict: Verdict | None

    @property
    def verdict_json(self) -> JsonValue:
        """The verdict as it is recorded with the step."""
        return None if self.verdict is None else self.verdict.model_dump(mode="json")


async def is_skipped(step: Step, job: JobState) -> bool:
    """Whether the step is left out: its condition does not hold, or it needs the output of one that was left out.

    Raises:
        SomaError: ``condition_invalid``.
    """
    if job.skipped and not job.skipped.isdisjoint(referenced_steps(step.action, step.params)):
        return True
    if step.when is None:
        return False
    # A hostile condition can take seconds until its limits stop it; nothing else must wait for that.
    return not await asyncio.to_thread(evaluate, step.when, job.inputs, job.outputs, job.skipped)


async def prepare(step: Step, job: JobState, law: Law) -> Prepared:
    """Resolve the step's parameters and ask for the verdict.

    Raises:
        SomaError: ``reference_unresolved``, ``params_invalid``, or ``policy_refused`` with the score.
    """
    spec = action(step.action)
    arguments = resolve_arguments(step, job)
    try:
        params = spec.params.model_validate(arguments)
    except ValidationError as error:
        raise invalid_params(step.id, error) from error
    verdict = await verdict_on_step(step.id, spec, arguments, job, law) if spec.effect else None
    return Prepared(spec, params, arguments, verdict)


def resolve_arguments(step: Step, job: JobState) -> JsonValue:
    """The step's parameters with every reference replaced by its value."""
    return resolve_params(step.action, step.params, job.inputs, job.outputs, job.skipped)


def approval_digest(step: Step, arguments: JsonValue, definition: CapsuleDefinition, constitution_hash: str) -> str:
    """SHA-256 over what will run: action, arguments, capsule and constitution. Any change of them changes it."""
    return sha256_hex(
        {
            "step": step.id,
            "action": step.action,
            "arguments": arguments,
            "capsule": sha256_hex(definition.model_dump(mode="json", by_alias=True)),
            "constitution": constitution_hash,
        }
    )


def invalid_params(step_id: str, error: ValidationError) -> SomaError:
    """All faults of a step's resolved parameters."""
    faults = [
        Fault(path=f"steps.{step_id}.params." + ".".join(map(str, e["loc"])), code=e["type"], detail=e["msg"])
        for e in error.errors(include_url=False, include_input=False)
    ]
    words = "; ".join(f"{fault.path}: {fault.detail}" for fault in faults[:5])
    return SomaError(Code.PARAMS_INVALID, f"The parameters of step `{step_id}` do not fit: {words}.", errors=faults)
