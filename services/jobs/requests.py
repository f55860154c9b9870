"""What a job is asked for with: the short form, or a task of the catalogue and its payload."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field, ValidationError

from somagent.domain.errors import Code, Fault, SomaError
from somagent.domain.model import JsonObject, Model

TASKS = ("capsule.run",)


class JobRequest(Model):
    """What ``POST /v1/jobs`` asks for, once its two forms are one."""

    capsule_id: Annotated[str, Field(min_length=1, max_length=128)]
    version: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    inputs: JsonObject = Field(default_factory=dict)
    environment: Annotated[str, Field(min_length=1, max_length=64)] = "prod"
    budget_tokens: Annotated[int, Field(ge=0, le=1_000_000_000)] | None = None
    priority: Annotated[int, Field(ge=1, le=5)] = 3
    session_id: UUID | None = None
    attachments: Annotated[list[UUID], Field(max_length=100)] = Field(default_factory=list)


class TaskRequest(Model):
    """The long form: a task of the catalogue and its payload."""

    task: Annotated[str, Field(min_length=1, max_length=64)]
    payload: JsonObject = Field(default_factory=dict)


def request_of(body: JobRequest | TaskRequest) -> JobRequest:
    """Both forms as one.

    Raises:
        SomaError: ``unknown_task``; ``validation_failed`` with every fault of the payload.
    """
    if isinstance(body, JobRequest):
        return body
    if body.task not in TASKS:
        detail = f"There is no task {body.task!r}; there is {', '.join(TASKS)}. GET /v1/jobs/tasks describes them."
        raise SomaError(Code.UNKNOWN_TASK, detail, errors=[Fault("task", Code.UNKNOWN_TASK, detail)])
    try:
        return JobRequest.model_validate(body.payload)
    except ValidationError as error:
        faults = [
            Fault(".".join(("payload", *map(str, found["loc"]))), found["type"], found["msg"])
            for found in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise SomaError(Code.VALIDATION_FAILED, "The task's payload does not fit.", errors=faults) from error
