"""The action ``policy.evaluate``: a job asks for a verdict, by the same questions and answers as ``POST /v1/evaluate``.

The verdict is the step's output and stands in the job's record; it is no row among the decisions.
"""

from __future__ import annotations

import asyncio
from typing import Final
from uuid import UUID, uuid5

from pydantic import ValidationError

from somagent.domain.actions.remote import PolicyEvaluateOutput, PolicyEvaluateParams
from somagent.domain.errors import Code, Fault, SomaError
from somagent.domain.policy.evaluation import Evaluation, EvaluationMetadata
from somagent.domain.policy.law import Law
from somagent.services.policy.engine import decision_of

_SPACE: Final = UUID("7d1f3a68-5a0e-5f8e-b0e6-51b8b8f5d0c3")


async def evaluate(params: PolicyEvaluateParams, decision_key: str, law: Law) -> PolicyEvaluateOutput:
    """Judge.

    Args:
        decision_key: the same key gives the same ``decision_id``.

    Raises:
        SomaError: ``params_invalid`` for numbers out of range or not finite, with every fault.
    """
    evaluation = Evaluation(prompt=params.prompt, role=params.role, metadata=_metadata(params))
    verdict = await asyncio.to_thread(evaluation.judge, law) if law.rules.rules else evaluation.judge(law)
    return PolicyEvaluateOutput.model_validate(decision_of(verdict, uuid5(_SPACE, decision_key)).document)


def _metadata(params: PolicyEvaluateParams) -> EvaluationMetadata:
    try:
        return EvaluationMetadata.model_validate(params.metadata)
    except ValidationError as error:
        faults = [
            Fault(".".join(("metadata", *map(str, one["loc"]))), one["type"], one["msg"])
            for one in error.errors(include_url=False, include_input=False)
        ]
        words = "; ".join(f"{fault.path}: {fault.detail}" for fault in faults)
        raise SomaError(Code.PARAMS_INVALID, f"The metadata does not fit: {words}.", errors=faults) from error
