"""A step's request to a model, as it travels through the queue, and what it may cost at most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import BaseModel

from somagent.domain.actions.remote import ChatMessage, SlmCompleteParams, SlmEmbedParams, SlmRole
from somagent.domain.capsules.definition import CapsuleDefinition
from somagent.domain.errors import Code, SomaError
from somagent.domain.messages.jobs import WorkArgument
from somagent.domain.slm.messages import SlmMetadata, SlmParameters, SlmRequest
from somagent.domain.slm.tokens import estimate_tokens
from somagent.services.jobs.work import Work


@dataclass(frozen=True, slots=True)
class Waiter:
    """Which activity of which workflow waits for the answer."""

    workflow_id: str
    activity_id: str
    run_id: str


def build_request(
    argument: WorkArgument, work: Work, params: BaseModel, waiter: Waiter, known: Sequence[str]
) -> SlmRequest:
    """The queue's message for a step."""
    job, step_id = work.job, argument.steps[0]
    metadata = SlmMetadata.model_validate(
        {
            "job_id": job.job_id,
            "step_id": step_id,
            "workflow_id": waiter.workflow_id,
            "activity_id": waiter.activity_id,
            "capsule_id": job.capsule_id,
            "user_id": job.submitted_by,
            "epoch": argument.epoch,
            "concludes": argument.concludes,
        }
    )
    common = {
        "request_id": f"{job.job_id}:{step_id}",
        "tenant": job.tenant_id,
        "session_id": str(job.session_id) if job.session_id else None,
        "metadata": metadata,
        "timestamp": datetime.now(UTC).isoformat(),
    }
    if isinstance(params, SlmEmbedParams):
        return SlmRequest.model_validate(
            {**common, "role": SlmRole.EMBEDDINGS, "kind": "embed", "input": list(params.input)}
        )
    if not isinstance(params, SlmCompleteParams):
        raise SomaError(Code.INTERNAL_ERROR, f"No model action takes {type(params).__name__}.")
    parameters = SlmParameters(max_tokens=params.max_tokens, temperature=params.temperature, schema_=params.schema_)
    return SlmRequest.model_validate(
        {
            **common,
            "role": params.role,
            "messages": messages_of(params, work.definition, known),
            "parameters": parameters,
        }
    )


def messages_of(
    params: SlmCompleteParams, definition: CapsuleDefinition, known: Sequence[str] = ()
) -> list[ChatMessage]:
    """The conversation: the capsule's persona, what it knows, then what the step says."""
    asked = params.messages or [ChatMessage(role="user", content=params.prompt or "")]
    before: list[ChatMessage] = []
    persona = definition.persona
    if persona is not None and persona.system_prompt:
        traits = f"\nYou are {', '.join(persona.traits)}." if persona.traits else ""
        before.append(ChatMessage(role="system", content=persona.system_prompt + traits))
    if known:
        before.append(ChatMessage(role="system", content="What is known:\n\n" + "\n\n".join(known)))
    return [*before, *asked]


def worst_case_tokens(params: BaseModel, definition: CapsuleDefinition, known: Sequence[str] = ()) -> int:
    """What one call may use at most: the prompt as estimated, and every token it may answer with."""
    if isinstance(params, SlmEmbedParams):
        return sum(estimate_tokens(text) for text in params.input)
    if isinstance(params, SlmCompleteParams):
        prompt = sum(estimate_tokens(message.content) for message in messages_of(params, definition, known))
        return prompt + params.max_tokens
    return 0


def waiting_work(request: SlmRequest) -> WorkArgument | None:
    """The work that waits for a request's answer; None for a request that no job made."""
    metadata = request.metadata
    if metadata.job_id is None or metadata.step_id is None:
        return None
    extra = metadata.model_extra or {}
    return WorkArgument(
        job_id=metadata.job_id,
        tenant_id=request.tenant,
        epoch=int(extra.get("epoch", 0)),
        steps=(metadata.step_id,),
        concludes=bool(extra.get("concludes", False)),
    )
