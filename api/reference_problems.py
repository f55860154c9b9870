"""Which problem codes an operation can answer: those that follow from its shape, and those of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from somagent.domain.errors import Code

EVERYWHERE: Final = (
    Code.TOKEN_MISSING, Code.TOKEN_INVALID, Code.TOKEN_EXPIRED, Code.TOKEN_REVOKED, Code.USER_DISABLED,
    Code.CAPABILITY_MISSING, Code.TENANT_MISMATCH, Code.METHOD_NOT_ALLOWED, Code.DATABASE_UNAVAILABLE,
    Code.INTERNAL_ERROR,
)  # fmt: skip
"""What every operation that wants a token can answer; said once."""

_SUBMIT: Final = (
    Code.CAPSULE_INVALID, Code.ATTESTATION_MISMATCH, Code.SIGNING_KEY_UNKNOWN, Code.SIGNATURE_INVALID,
)  # fmt: skip
_PROPOSE: Final = (
    Code.CONSTITUTION_INVALID, Code.SIGNING_KEY_UNKNOWN, Code.SIGNATURE_INVALID, Code.CONSTITUTION_VERSION_NOT_RISING,
    Code.TRAINING_LOCKED, Code.CONSTITUTION_UNVERIFIABLE,
)  # fmt: skip
_DECIDE: Final = (
    Code.SELF_APPROVAL_FORBIDDEN, Code.PROPOSAL_DECIDED, Code.ALREADY_VOTED, Code.PROPOSAL_NOT_READY,
    Code.BLOCKING_FINDINGS, Code.DECISION_PENDING,
)  # fmt: skip
_INSTALL: Final = (
    Code.CAPSULE_NOT_APPROVED, Code.CAPSULE_RECALLED, Code.ALREADY_INSTALLED, Code.TRAINING_LOCKED,
)  # fmt: skip
_ISSUE: Final = (
    Code.CREDENTIALS_INVALID, Code.MFA_REQUIRED, Code.MFA_INVALID, Code.CAPABILITY_NOT_OWNED, Code.ACCOUNT_LOCKED,
    Code.RATE_LIMITED, Code.CONSTITUTION_UNVERIFIABLE,
)  # fmt: skip
_CHANGE_USER: Final = (Code.CAPABILITY_NOT_OWNED, Code.LAST_ADMINISTRATOR)
_PASSWORD: Final = (Code.CREDENTIALS_INVALID, Code.ACCOUNT_LOCKED, Code.CAPABILITY_NOT_OWNED)
_OIDC: Final = (Code.LOGIN_NOT_CONFIGURED, Code.LOGIN_FAILED, Code.RATE_LIMITED, Code.REDIS_UNAVAILABLE)
_GATE: Final = (
    Code.KILL_SWITCH_ACTIVE, Code.RESIDENCY_REFUSED, Code.MODERATION_REFUSED, Code.MODERATION_LOCKED,
    Code.MODERATION_UNAVAILABLE, Code.POLICY_REFUSED, Code.POLICY_UNAVAILABLE, Code.CONSTITUTION_UNVERIFIABLE,
)  # fmt: skip
_SPEAK: Final = (*_GATE, Code.CAPSULE_NOT_INSTALLED, Code.CAPSULE_RECALLED)
_ASK: Final = (
    Code.UNKNOWN_ROLE, Code.BUDGET_EXHAUSTED, Code.PARAMS_INVALID, Code.PROMPT_TOO_LONG, Code.ADAPTER_NOT_CONFIGURED,
    Code.RATE_LIMITED, Code.SLM_UNAVAILABLE, Code.SLM_FAILED, Code.SLM_INVALID_OUTPUT, Code.SLM_TIMED_OUT,
    Code.REDIS_UNAVAILABLE,
)  # fmt: skip

OWN: Final[Mapping[str, tuple[Code, ...]]] = {
    "POST /v1/jobs": (
        Code.CAPSULE_NOT_INSTALLED, Code.CAPSULE_RECALLED, Code.INPUT_INVALID, Code.UNKNOWN_TASK,
        Code.ATTESTATION_MISMATCH, Code.KILL_SWITCH_ACTIVE, Code.CONSTITUTION_UNVERIFIABLE,
    ),
    "POST /v1/jobs/{job_id}/cancel": (Code.JOB_NOT_ACTIVE,),
    "POST /v1/jobs/{job_id}/pause": (Code.JOB_NOT_ACTIVE,),
    "POST /v1/jobs/{job_id}/resume": (Code.JOB_NOT_PAUSED, Code.KILL_SWITCH_ACTIVE),
    "POST /v1/jobs/{job_id}/retry": (Code.JOB_NOT_RETRYABLE, Code.CAPSULE_RECALLED, Code.KILL_SWITCH_ACTIVE),
    "POST /v1/jobs/{job_id}/budget": (Code.JOB_NOT_ACTIVE, Code.BUDGET_TOO_LOW),
    "POST /v1/jobs/{job_id}/approvals/{approval_id}": (
        Code.SELF_APPROVAL_FORBIDDEN, Code.APPROVAL_DIGEST_MISMATCH, Code.APPROVAL_DECIDED, Code.ALREADY_VOTED,
        Code.DECISION_PENDING,
    ),
    "POST /v1/sessions": _SPEAK,
    "POST /v1/sessions/{session_id}/turns": (
        *_SPEAK, Code.INPUT_INVALID, Code.SESSION_ENDED, Code.SESSION_BUSY,
    ),
    "POST /v1/chat/completions": (*_GATE, *_ASK),
    "POST /v1/attachments": (Code.DISK_FULL,),
    "GET /v1/capsules/{capsule_id}": (Code.CAPSULE_NOT_FOUND,),
    "POST /v1/capsules/{capsule_id}/versions/{version}/recall": (Code.CAPSULE_NOT_FOUND,),
    "POST /v1/submissions": (*_SUBMIT, Code.SUBMISSION_EXISTS),
    "PUT /v1/submissions/{submission_id}": (*_SUBMIT, Code.NOT_THE_SUBMITTER, Code.SUBMISSION_DECIDED),
    "DELETE /v1/submissions/{submission_id}": (Code.NOT_THE_SUBMITTER, Code.SUBMISSION_DECIDED),
    "POST /v1/submissions/{submission_id}/review": (
        Code.SELF_REVIEW_FORBIDDEN, Code.REVIEW_NOT_READY, Code.BLOCKING_FINDINGS, Code.ALREADY_VOTED,
        Code.SUBMISSION_DECIDED, Code.DECISION_PENDING,
    ),
    "POST /v1/installations": _INSTALL,
    "POST /v1/installations/{installation_id}/upgrade": (*_INSTALL, Code.INSTALLATION_NOT_ACTIVE),
    "POST /v1/installations/{installation_id}/rollback": (
        Code.NO_PREVIOUS_VERSION, Code.INSTALLATION_NOT_ACTIVE, Code.TRAINING_LOCKED,
    ),
    "DELETE /v1/installations/{installation_id}": (Code.INSTALLATION_NOT_ACTIVE, Code.TRAINING_LOCKED),
    "POST /v1/tokens/issue": _ISSUE,
    "POST /tokens/issue": _ISSUE,
    "GET /v1/login/oidc": _OIDC,
    "GET /v1/login/oidc/callback": _OIDC,
    "POST /v1/users": (Code.CAPABILITY_NOT_OWNED, Code.USER_EXISTS),
    "PATCH /v1/users/{user_id}": _CHANGE_USER,
    "PUT /v1/users/{user_id}": _CHANGE_USER,
    "DELETE /v1/users/{user_id}": (Code.LAST_ADMINISTRATOR,),
    "POST /v1/users/{user_id}/password": _PASSWORD,
    "PUT /v1/users/{user_id}/password": _PASSWORD,
    "POST /v1/users/{user_id}/mfa/enroll": (Code.MFA_ALREADY_ENROLLED, Code.CAPABILITY_NOT_OWNED),
    "POST /v1/users/{user_id}/mfa/verify": (
        Code.MFA_INVALID, Code.MFA_NOT_ENROLLED, Code.MFA_ALREADY_ENROLLED, Code.CAPABILITY_NOT_OWNED,
    ),
    "DELETE /v1/users/{user_id}/mfa": (Code.MFA_NOT_ENROLLED, Code.CAPABILITY_NOT_OWNED),
    "POST /v1/users/{user_id}/api-keys": (Code.CAPABILITY_NOT_OWNED, Code.MFA_REQUIRED, Code.MFA_INVALID),
    "POST /v1/training/start": (Code.TRAINING_LOCKED,),
    "POST /v1/training/stop": (Code.TRAINING_NOT_ACTIVE, Code.TRAINING_LOCKED),
    "POST /v1/signing-keys": (Code.SIGNING_KEY_EXISTS,),
    "GET /v1/recall/{key}": (Code.MEMORY_NOT_FOUND,),
    "DELETE /v1/memories/{memory_id}": (Code.MEMORY_NOT_FOUND,),
    "POST /v1/notifications": (Code.CHANNEL_UNKNOWN, Code.KILL_SWITCH_ACTIVE),
    "POST /v1/remember": (Code.KILL_SWITCH_ACTIVE,),
    "POST /v1/tenants": (Code.TENANT_EXISTS,),
    "POST /v1/tenants/{tenant_id}/model-profiles": (Code.PROFILE_EXISTS, Code.TRAINING_LOCKED),
    "PUT /v1/tenants/{tenant_id}/model-profiles/{profile_name}": (Code.TRAINING_LOCKED,),
    "POST /v1/tenants/{tenant_id}/model-profiles/{profile_name}/default": (Code.TRAINING_LOCKED,),
    "DELETE /v1/tenants/{tenant_id}/model-profiles/{profile_name}": (Code.PROFILE_IN_USE, Code.TRAINING_LOCKED),
    "GET /v1/tenants/{tenant_id}/deployment-mode": (Code.CONSTITUTION_UNVERIFIABLE,),
    "PUT /v1/tenants/{tenant_id}/deployment-mode": (Code.CONSTITUTION_UNVERIFIABLE,),
    "POST /v1/constitution/proposals": _PROPOSE,
    "POST /v1/constitution/rollback": (*_PROPOSE, Code.NOT_FOUND),
    "DELETE /v1/constitution/proposals/{proposal_id}": (Code.NOT_THE_SUBMITTER, Code.PROPOSAL_DECIDED),
    "POST /v1/constitution/proposals/{proposal_id}/vote": _DECIDE,
    "POST /v1/constitution/proposals/{proposal_id}/approve": _DECIDE,
    "POST /v1/constitution/proposals/{proposal_id}/reject": _DECIDE,
    "GET /v1/constitution": (Code.CONSTITUTION_UNVERIFIABLE,),
    "GET /v1/constitution/hash": (Code.CONSTITUTION_UNVERIFIABLE,),
    "DELETE /v1/kill-switch/global": (Code.KILL_SWITCH_NOT_ENGAGED,),
    "DELETE /v1/kill-switch/tenant/{tenant_id}": (Code.KILL_SWITCH_NOT_ENGAGED,),
    "DELETE /v1/kill-switch/capsule/{capsule_id}": (Code.KILL_SWITCH_NOT_ENGAGED,),
    "DELETE /v1/kill-switch/run/{run_id}": (Code.KILL_SWITCH_NOT_ENGAGED,),
}  # fmt: skip


def codes_of(name: str, operation: Mapping[str, Any]) -> list[Code]:
    """The codes of ``name`` (``POST /v1/jobs``) beyond :data:`EVERYWHERE`, its own first."""
    return list(dict.fromkeys((*OWN.get(name, ()), *_by_shape(operation))))


def _by_shape(operation: Mapping[str, Any]) -> Iterator[Code]:
    parameters = {parameter["name"]: parameter for parameter in operation.get("parameters", ())}
    if any(parameter["in"] == "path" for parameter in parameters.values()):
        yield Code.NOT_FOUND
    content = operation.get("requestBody", {}).get("content", {})
    if content:
        yield from (Code.BODY_TOO_LARGE, Code.MALFORMED_JSON if "application/json" in content else Code.MALFORMED_BODY)
    if content or parameters:
        yield Code.VALIDATION_FAILED
    if "cursor" in parameters:
        yield Code.INVALID_CURSOR
    if "Idempotency-Key" in parameters:
        yield from (Code.IDEMPOTENCY_KEY_REUSED, Code.IDEMPOTENCY_IN_PROGRESS)
