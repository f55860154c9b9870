"""Asking the policy engine from ordinary Python. Fails closed: there is a verdict, or an exception; never a guess."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx

from somagent.client.client import ApiError, Json

PATIENCE_SECONDS: Final = 10.0


class PolicyUnavailable(Exception):
    """There is no verdict: the engine does not answer, answers late, refuses to judge, or answers something else.

    Whoever meets it must not go on: no verdict is a refusal.
    """


class PolicyRefused(Exception):
    """The verdict is a refusal; ``verdict`` says why."""

    def __init__(self, verdict: Verdict) -> None:
        matched = f"; it matched {', '.join(verdict.policy)}" if verdict.policy else ""
        super().__init__(f"policy refused: score {verdict.score:.3f}, threshold {verdict.threshold}{matched}")
        self.verdict = verdict


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the engine answered. Only ``allowed`` decides; the rest explains it."""

    allowed: bool
    score: float
    threshold: float
    severity: str
    constitution_hash: str
    policy: tuple[str, ...]
    features: tuple[Mapping[str, Any], ...]
    decision_id: str
    cached: bool

    def __bool__(self) -> bool:
        return self.allowed

    def require_allowed(self) -> Verdict:
        """The verdict itself.

        Raises:
            PolicyRefused: it is a refusal.
        """
        if not self.allowed:
            raise PolicyRefused(self)
        return self


def evaluate_sync(
    prompt: str,
    metadata: Mapping[str, Any] | None = None,
    *,
    role: str | None = None,
    session_id: str | None = None,
    tenant: str | None = None,
    user: str | None = None,
    base_url: str | None = None,
    token: str | None = None,
    timeout: float = PATIENCE_SECONDS,
) -> Verdict:
    """The verdict on a prompt and the act behind it: ``POST /v1/evaluate``, waited for.

    Args:
        metadata: action, tool, capsule_id, risk, confidence, budget_required, budget_remaining, requires_human.
        base_url: SOMAGENT_URL, else ``http://127.0.0.1:8080``, when absent.
        token: SOMAGENT_TOKEN when absent.
        timeout: seconds until the verdict is late.

    Returns:
        The verdict, true when the act is allowed: ``if evaluate_sync(...):``, or
        ``evaluate_sync(...).require_allowed()``.

    Raises:
        ApiError: the question itself is refused (401, 403, 413, 422); ask differently.
        PolicyUnavailable: there is no verdict.
    """
    asked = {
        "prompt": prompt, "metadata": dict(metadata or {}), "role": role, "session_id": session_id, "tenant": tenant,
        "user": user,
    }  # fmt: skip
    address = (base_url or os.environ.get("SOMAGENT_URL") or "http://127.0.0.1:8080").rstrip("/")
    headers = {"Authorization": f"Bearer {token or os.environ.get('SOMAGENT_TOKEN', '')}"}
    try:
        answer = httpx.post(f"{address}/v1/evaluate", json=asked, headers=headers, timeout=timeout, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise PolicyUnavailable(f"the policy engine at {address} gave no verdict: {error!r}") from error
    if 400 <= answer.status_code < 500 and answer.status_code != 429:
        raise ApiError(answer.status_code, _problem(answer))
    if answer.status_code != 200:
        raise PolicyUnavailable(f"the policy engine gave no verdict: {answer.status_code} {_problem(answer)['code']}")
    return _verdict(answer)


def _verdict(answer: httpx.Response) -> Verdict:
    try:
        document: Json = answer.json()
        reasons = document["reasons"]
        verdict = Verdict(
            allowed=document["allowed"],
            score=float(document["score"]),
            threshold=float(document["threshold"]),
            severity=str(document["severity"]),
            constitution_hash=str(reasons["constitution_hash"]),
            policy=tuple(map(str, reasons["policy"])),
            features=tuple(reasons["features"]),
            decision_id=str(document["decision_id"]),
            cached=bool(document["cached"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise PolicyUnavailable("the policy engine answered something that is no verdict") from error
    if not isinstance(verdict.allowed, bool) or not math.isfinite(verdict.score):
        raise PolicyUnavailable("the policy engine answered something that is no verdict")
    return verdict


def _problem(answer: httpx.Response) -> Json:
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    if isinstance(problem, dict) and "code" in problem:
        return problem
    return {"code": "unreadable_answer", "detail": answer.text[:300]}
