"""What can go wrong, named once: stable codes in a closed set of categories.

No HTTP here and no Temporal: ``api.problems`` alone maps a category to a status, and
``activities.failures`` alone maps it to retryable or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Category(StrEnum):
    """Who must act on an error, and whether trying again can help."""

    INVALID = "invalid"  # the caller must change the request
    MALFORMED = "malformed"  # the request cannot even be read
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    TOO_LARGE = "too_large"
    REFUSED = "refused"  # a policy, sandbox or egress rule said no
    LIMITED = "limited"  # later, within the same limits, it may pass
    EXHAUSTED = "exhausted"  # a budget must be raised by a person
    UNAVAILABLE = "unavailable"  # a part of ours does not answer
    EXTERNAL = "external"  # an outside party failed
    TIMEOUT = "timeout"
    INTERNAL = "internal"


class Code(StrEnum):
    """Every stable error code. The value is what users and logs see."""

    # the request
    MALFORMED_JSON = "malformed_json"
    MALFORMED_BODY = "malformed_body"
    VALIDATION_FAILED = "validation_failed"
    INVALID_CURSOR = "invalid_cursor"
    BODY_TOO_LARGE = "body_too_large"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    NOT_FOUND = "not_found"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    IDEMPOTENCY_IN_PROGRESS = "idempotency_in_progress"
    # the caller
    TOKEN_MISSING = "token_missing"
    TOKEN_INVALID = "token_invalid"
    TOKEN_EXPIRED = "token_expired"
    TOKEN_REVOKED = "token_revoked"
    CAPABILITY_MISSING = "capability_missing"
    TENANT_MISMATCH = "tenant_mismatch"
    # identity
    CREDENTIALS_INVALID = "credentials_invalid"
    MFA_REQUIRED = "mfa_required"
    MFA_INVALID = "mfa_invalid"
    MFA_NOT_ENROLLED = "mfa_not_enrolled"
    MFA_ALREADY_ENROLLED = "mfa_already_enrolled"
    ACCOUNT_LOCKED = "account_locked"
    USER_EXISTS = "user_exists"
    USER_DISABLED = "user_disabled"
    LAST_ADMINISTRATOR = "last_administrator"
    CAPABILITY_NOT_OWNED = "capability_not_owned"
    TRAINING_LOCKED = "training_locked"
    TRAINING_NOT_ACTIVE = "training_not_active"
    LOGIN_NOT_CONFIGURED = "login_not_configured"
    LOGIN_FAILED = "login_failed"
    # the gate
    KILL_SWITCH_ACTIVE = "kill_switch_active"
    KILL_SWITCH_NOT_ENGAGED = "kill_switch_not_engaged"
    RESIDENCY_REFUSED = "residency_refused"
    POLICY_UNAVAILABLE = "policy_unavailable"
    MODERATION_REFUSED = "moderation_refused"
    MODERATION_LOCKED = "moderation_locked"
    MODERATION_UNAVAILABLE = "moderation_unavailable"
    MODERATION_NOT_LOCKED = "moderation_not_locked"
    CONSTITUTION_UNVERIFIABLE = "constitution_unverifiable"
    CONSTITUTION_INVALID = "constitution_invalid"
    CONSTITUTION_VERSION_NOT_RISING = "constitution_version_not_rising"
    PROPOSAL_DECIDED = "proposal_decided"
    PROPOSAL_NOT_READY = "proposal_not_ready"
    RULE_EXISTS = "rule_exists"
    PROFILE_EXISTS = "profile_exists"
    PROFILE_IN_USE = "profile_in_use"
    TENANT_EXISTS = "tenant_exists"
    SESSION_ENDED = "session_ended"
    SESSION_BUSY = "session_busy"
    AUDIT_BROKEN = "audit_broken"
    # capsules
    CAPSULE_INVALID = "capsule_invalid"
    CAPSULE_NOT_FOUND = "capsule_not_found"
    CAPSULE_NOT_APPROVED = "capsule_not_approved"
    CAPSULE_NOT_INSTALLED = "capsule_not_installed"
    CAPSULE_RECALLED = "capsule_recalled"
    ATTESTATION_MISMATCH = "attestation_mismatch"
    SIGNATURE_INVALID = "signature_invalid"
    SIGNING_KEY_UNKNOWN = "signing_key_unknown"
    SIGNING_KEY_EXISTS = "signing_key_exists"
    SUBMISSION_EXISTS = "submission_exists"
    SUBMISSION_DECIDED = "submission_decided"
    SELF_REVIEW_FORBIDDEN = "self_review_forbidden"
    NOT_THE_SUBMITTER = "not_the_submitter"
    ALREADY_VOTED = "already_voted"
    REVIEW_NOT_READY = "review_not_ready"
    BLOCKING_FINDINGS = "blocking_findings"
    DECISION_PENDING = "decision_pending"
    ALREADY_INSTALLED = "already_installed"
    NO_PREVIOUS_VERSION = "no_previous_version"
    INSTALLATION_NOT_ACTIVE = "installation_not_active"
    TENANT_SCOPE_MISMATCH = "tenant_scope_mismatch"
    TOOL_NOT_ALLOWED = "tool_not_allowed"
    NAMESPACE_CONFLICT = "namespace_conflict"
    BUDGET_ABOVE_LIMIT = "budget_above_limit"
    # jobs
    UNKNOWN_TASK = "unknown_task"
    INPUT_INVALID = "input_invalid"
    JOB_NOT_ACTIVE = "job_not_active"
    JOB_NOT_RETRYABLE = "job_not_retryable"
    JOB_NOT_PAUSED = "job_not_paused"
    JOB_FENCED = "job_fenced"
    APPROVAL_DIGEST_MISMATCH = "approval_digest_mismatch"
    APPROVAL_DECIDED = "approval_decided"
    APPROVAL_REJECTED = "approval_rejected"
    SELF_APPROVAL_FORBIDDEN = "self_approval_forbidden"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    BUDGET_EXHAUSTED = "budget_exhausted"
    BUDGET_TOO_LOW = "budget_too_low"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    CHILD_FAILED = "child_failed"
    CHILD_TOO_DEEP = "child_too_deep"
    # steps
    PARAMS_INVALID = "params_invalid"
    REFERENCE_UNRESOLVED = "reference_unresolved"
    CONDITION_INVALID = "condition_invalid"
    TEMPLATE_INVALID = "template_invalid"
    PATH_OUTSIDE_WORKSPACE = "path_outside_workspace"
    FILE_NOT_FOUND = "file_not_found"
    FILE_NOT_TEXT = "file_not_text"
    FILE_TOO_LARGE = "file_too_large"
    EGRESS_REFUSED = "egress_refused"
    HTTP_FAILED = "http_failed"
    RESPONSE_TOO_LARGE = "response_too_large"
    SANDBOX_UNAVAILABLE = "sandbox_unavailable"
    SHELL_FAILED = "shell_failed"
    COMMAND_NOT_FOUND = "command_not_found"
    OUTPUT_TOO_LARGE = "output_too_large"
    GIT_FAILED = "git_failed"
    QUERY_FAILED = "query_failed"
    QUERY_NOT_READ_ONLY = "query_not_read_only"
    CONNECTION_UNKNOWN = "connection_unknown"
    STEP_TIMED_OUT = "step_timed_out"
    RATE_LIMITED = "rate_limited"
    POLICY_REFUSED = "policy_refused"
    ADAPTER_NOT_CONFIGURED = "adapter_not_configured"
    CHANNEL_UNKNOWN = "channel_unknown"
    NOTIFICATION_FAILED = "notification_failed"
    MEMORY_NOT_FOUND = "memory_not_found"
    # models
    UNKNOWN_ROLE = "unknown_role"
    SLM_UNAVAILABLE = "slm_unavailable"
    SLM_FAILED = "slm_failed"
    SLM_TIMED_OUT = "slm_timed_out"
    SLM_INVALID_OUTPUT = "slm_invalid_output"
    PROMPT_TOO_LONG = "prompt_too_long"
    EMBEDDING_DIMENSION_MISMATCH = "embedding_dimension_mismatch"
    # parts
    TEMPORAL_UNAVAILABLE = "temporal_unavailable"
    DATABASE_UNAVAILABLE = "database_unavailable"
    REDIS_UNAVAILABLE = "redis_unavailable"
    DISK_FULL = "disk_full"
    # the local stack
    PART_MISSING = "part_missing"
    PART_FAILED = "part_failed"
    PORT_TAKEN = "port_taken"
    STACK_NOT_RUNNING = "stack_not_running"
    INTERNAL_ERROR = "internal_error"


_C = Category
_CATEGORIES: dict[Category, tuple[Code, ...]] = {
    _C.MALFORMED: (
        Code.MALFORMED_JSON, Code.MALFORMED_BODY, Code.ATTESTATION_MISMATCH, Code.SIGNATURE_INVALID,
        Code.INVALID_CURSOR,
    ),
    _C.INVALID: (
        Code.VALIDATION_FAILED, Code.IDEMPOTENCY_KEY_REUSED, Code.CAPSULE_INVALID, Code.UNKNOWN_TASK,
        Code.INPUT_INVALID, Code.CHILD_TOO_DEEP, Code.PARAMS_INVALID, Code.REFERENCE_UNRESOLVED, Code.CONDITION_INVALID,
        Code.TEMPLATE_INVALID, Code.FILE_NOT_FOUND, Code.FILE_NOT_TEXT, Code.QUERY_FAILED, Code.CONNECTION_UNKNOWN,
        Code.UNKNOWN_ROLE, Code.PROMPT_TOO_LONG, Code.EMBEDDING_DIMENSION_MISMATCH, Code.SIGNING_KEY_UNKNOWN,
        Code.COMMAND_NOT_FOUND, Code.CHANNEL_UNKNOWN, Code.BUDGET_TOO_LOW, Code.ADAPTER_NOT_CONFIGURED,
        Code.CONSTITUTION_INVALID, Code.LOGIN_NOT_CONFIGURED,
    ),
    _C.UNAUTHENTICATED: (Code.TOKEN_MISSING, Code.TOKEN_INVALID, Code.TOKEN_EXPIRED, Code.TOKEN_REVOKED,
        Code.CREDENTIALS_INVALID, Code.MFA_REQUIRED, Code.MFA_INVALID, Code.USER_DISABLED, Code.LOGIN_FAILED,),
    _C.FORBIDDEN: (
        Code.CAPABILITY_MISSING, Code.TENANT_MISMATCH, Code.SELF_REVIEW_FORBIDDEN, Code.NOT_THE_SUBMITTER,
        Code.SELF_APPROVAL_FORBIDDEN, Code.CAPABILITY_NOT_OWNED, Code.RESIDENCY_REFUSED, Code.MODERATION_REFUSED,
        Code.MODERATION_LOCKED,
    ),
    _C.NOT_FOUND: (Code.NOT_FOUND, Code.CAPSULE_NOT_FOUND, Code.CAPSULE_NOT_APPROVED, Code.MEMORY_NOT_FOUND),
    _C.CONFLICT: (
        Code.IDEMPOTENCY_IN_PROGRESS, Code.CAPSULE_NOT_INSTALLED, Code.CAPSULE_RECALLED, Code.SIGNING_KEY_EXISTS,
        Code.SUBMISSION_EXISTS, Code.SUBMISSION_DECIDED, Code.ALREADY_VOTED, Code.REVIEW_NOT_READY,
        Code.BLOCKING_FINDINGS, Code.ALREADY_INSTALLED, Code.NO_PREVIOUS_VERSION, Code.INSTALLATION_NOT_ACTIVE,
        Code.JOB_NOT_ACTIVE, Code.JOB_NOT_RETRYABLE, Code.JOB_NOT_PAUSED, Code.JOB_FENCED,
        Code.APPROVAL_DIGEST_MISMATCH, Code.APPROVAL_DECIDED, Code.NAMESPACE_CONFLICT,
        Code.TENANT_SCOPE_MISMATCH, Code.TOOL_NOT_ALLOWED, Code.BUDGET_ABOVE_LIMIT, Code.PORT_TAKEN,
        Code.MFA_NOT_ENROLLED, Code.MFA_ALREADY_ENROLLED, Code.USER_EXISTS, Code.LAST_ADMINISTRATOR,
        Code.TRAINING_LOCKED, Code.TRAINING_NOT_ACTIVE, Code.KILL_SWITCH_NOT_ENGAGED, Code.MODERATION_NOT_LOCKED,
        Code.CONSTITUTION_VERSION_NOT_RISING, Code.PROPOSAL_DECIDED, Code.PROPOSAL_NOT_READY, Code.RULE_EXISTS,
        Code.PROFILE_EXISTS, Code.PROFILE_IN_USE, Code.TENANT_EXISTS, Code.SESSION_ENDED, Code.SESSION_BUSY,
    ),
    _C.TOO_LARGE: (
        Code.BODY_TOO_LARGE, Code.PAYLOAD_TOO_LARGE, Code.FILE_TOO_LARGE, Code.RESPONSE_TOO_LARGE,
        Code.OUTPUT_TOO_LARGE,
    ),
    _C.REFUSED: (
        Code.PATH_OUTSIDE_WORKSPACE, Code.EGRESS_REFUSED, Code.QUERY_NOT_READ_ONLY, Code.POLICY_REFUSED,
        Code.APPROVAL_REJECTED, Code.CANCELLED, Code.METHOD_NOT_ALLOWED, Code.SANDBOX_UNAVAILABLE,
    ),
    _C.LIMITED: (Code.RATE_LIMITED, Code.ACCOUNT_LOCKED),
    _C.EXHAUSTED: (Code.BUDGET_EXHAUSTED,),
    _C.UNAVAILABLE: (
        Code.DECISION_PENDING, Code.TEMPORAL_UNAVAILABLE, Code.DATABASE_UNAVAILABLE, Code.REDIS_UNAVAILABLE,
        Code.SLM_UNAVAILABLE, Code.DISK_FULL, Code.PART_MISSING, Code.PART_FAILED, Code.STACK_NOT_RUNNING,
        Code.KILL_SWITCH_ACTIVE, Code.POLICY_UNAVAILABLE, Code.MODERATION_UNAVAILABLE, Code.CONSTITUTION_UNVERIFIABLE,
    ),
    _C.EXTERNAL: (
        Code.HTTP_FAILED, Code.GIT_FAILED, Code.SHELL_FAILED, Code.SLM_FAILED, Code.SLM_INVALID_OUTPUT,
        Code.NOTIFICATION_FAILED, Code.CHILD_FAILED,
    ),
    _C.TIMEOUT: (Code.TIMED_OUT, Code.STEP_TIMED_OUT, Code.SLM_TIMED_OUT),
    _C.INTERNAL: (Code.INTERNAL_ERROR, Code.AUDIT_BROKEN),
}  # fmt: skip

CATEGORY_OF: dict[Code, Category] = {code: category for category, codes in _CATEGORIES.items() for code in codes}

_RETRYABLE = frozenset({Category.LIMITED, Category.UNAVAILABLE, Category.EXTERNAL, Category.TIMEOUT, Category.INTERNAL})


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of an input: where (``workflow.steps[2].params.url``), which, and in words."""

    path: str
    code: str
    detail: str


class SomaError(Exception):
    """An error with a stable code. ``detail`` says what happened, why, and what to do.

    Args:
        code: one of :class:`Code`.
        detail: a sentence for people; never a secret, never another tenant's data.
        errors: every fault of the input, where the code is about an input.
        retry_after: seconds after which trying again can help.
        retryable: overrides what the category says, where this one error is known to be otherwise.
    """

    def __init__(
        self,
        code: Code,
        detail: str,
        *,
        errors: Sequence[Fault] = (),
        retry_after: float | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)
        self.retry_after = retry_after
        self._retryable = retryable

    @property
    def category(self) -> Category:
        """The category that the code belongs to."""
        return CATEGORY_OF[self.code]

    @property
    def retryable(self) -> bool:
        """Whether the same act may pass when it is tried again."""
        return self.category in _RETRYABLE if self._retryable is None else self._retryable

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"
