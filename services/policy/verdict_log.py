"""Verdicts in the log: every one in the debugging modes, refusals in the others, each with its features."""

from __future__ import annotations

from typing import Final

import structlog
from pydantic import JsonValue

from somagent.domain.model import JsonObject
from somagent.domain.modes import VerdictLogging
from somagent.domain.policy.scoring import Verdict

log: Final = structlog.get_logger(__name__)


def log_verdict(which: VerdictLogging, tenant_id: str, source: str, verdict: Verdict, **about: JsonValue) -> None:
    """Log a verdict where the tenant's mode wants it: a refusal as a warning, any other as information."""
    if which == "every" or not verdict.allowed:
        _write(verdict.allowed, tenant_id, source, {**verdict.model_dump(mode="json"), **about})


def log_kept(which: VerdictLogging, tenant_id: str, source: str, answer: JsonObject) -> None:
    """The same for a verdict that was remembered, from its answer."""
    allowed = answer.get("allowed") is True
    if which == "every" or not allowed:
        _write(allowed, tenant_id, source, {**answer, "cached": True})


def _write(allowed: bool, tenant_id: str, source: str, what: JsonObject) -> None:
    (log.info if allowed else log.warning)("policy_verdict", tenant=tenant_id, source=source, **what)
