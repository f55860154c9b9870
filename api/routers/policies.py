"""Verdicts and rules: the policy engine."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Depends, Query
from pydantic import Field, JsonValue
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from somagent.adapters.postgres.database import raw_connection
from somagent.adapters.postgres.tables import PolicyDecision
from somagent.api.deps import (
    Answer,
    Caller,
    IdempotencyKey,
    Page,
    PageDep,
    State,
    StateDep,
    Timestamp,
    created,
    creating,
    fetch_page,
    holds,
    json_response,
    request_id,
    requires,
    soma_router,
    state_of,
)
from somagent.api.direct import DirectRoute
from somagent.api.security import acting_for
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import Model
from somagent.domain.modes import DeploymentMode
from somagent.domain.names import UserId
from somagent.domain.policy.constitution import FeatureWeights
from somagent.domain.policy.evaluation import Evaluation, EvaluationMetadata
from somagent.domain.policy.rules import Rule
from somagent.domain.policy.scoring import Feature, Severity, Values, weigh
from somagent.services.policy import rulebook
from somagent.services.policy.engine import governed_headers

router = soma_router("policy-engine")

Reader = Annotated[Caller, Depends(requires("policy:read"))]
Writer = Annotated[Caller, Depends(requires("policy:write"))]
_ROLE_LIMIT = 100


class EvaluateBody(Model):
    """A prompt, and what is known of the act behind it."""

    prompt: str
    session_id: Annotated[str, Field(max_length=200)] | None = None
    tenant: Annotated[str, Field(max_length=64)] | None = Field(default=None, description="The token's; no other")
    user: UserId | None = Field(default=None, description="On whose behalf; the caller when absent")
    role: Annotated[str, Field(max_length=_ROLE_LIMIT)] | None = None
    metadata: EvaluationMetadata = EvaluationMetadata()


class Reasons(Model):
    """What decided."""

    constitution_hash: str
    policy: list[str] = Field(description="Rules that the prompt matched; a hard one refuses whatever the score")
    features: list[Feature]


class EvaluateAnswer(Model):
    """A verdict. Allowed when the score reaches the threshold and no hard rule matched."""

    allowed: bool
    score: float = Field(description="The plain sum of the contributions")
    threshold: float
    severity: Severity
    reasons: Reasons
    decision_id: UUID
    cached: bool = Field(description="Whether this is an earlier verdict on the same question, of the last 10 minutes")


class ScoreBody(Model):
    """φ values, or what they are made of."""

    features: Values | None = Field(default=None, description="φ values; prompt and metadata are not looked at then")
    prompt: str = ""
    session_id: Annotated[str, Field(max_length=200)] | None = Field(default=None, description="Decides nothing")
    tenant: Annotated[str, Field(max_length=64)] | None = Field(default=None, description="The token's; no other")
    user: UserId | None = Field(default=None, description="Decides nothing")
    role: Annotated[str, Field(max_length=_ROLE_LIMIT)] | None = None
    metadata: EvaluationMetadata = EvaluationMetadata()


class ScoreView(Model):
    """A verdict that nobody relies on: it is not recorded."""

    allowed: bool
    score: float
    threshold: float
    severity: Severity
    constitution_hash: str
    policy: list[str]
    features: list[Feature]


class PolicyView(Model):
    """What is in force for a tenant."""

    tenant: str
    mode: DeploymentMode
    constitution_version: int
    constitution_hash: str
    threshold: float = Field(description="In the tenant's mode")
    weights: FeatureWeights
    rules: list[Rule] = Field(description="By name")


class DecisionView(Model):
    """A recorded verdict."""

    id: UUID
    user_id: str
    source: str
    object: str | None
    action: str | None
    allowed: bool
    score: float
    threshold: float
    severity: Severity
    constitution_hash: str
    policy: list[str]
    features: list[JsonValue]
    created_at: Timestamp


async def evaluate(request: Request, body: EvaluateBody, caller: Reader) -> Response:
    """The verdict on a prompt and the act behind it, recorded once; asked again within 10 minutes it is `cached`.

    Fields of `metadata` beside those named are the caller's own: only the condition of a rule sees them. Risk is that
    of the action's or tool's manifest when absent, else 0.1. The answer carries `X-Policy-Decision`,
    `X-Policy-Score` and `X-Constitution-Hash`.
    """
    state = state_of(request)
    decision = await state.policy.evaluate(
        await acting_for(state, caller, body.tenant or caller.tenant_id, "`tenant`"),
        Evaluation.model_construct(prompt=body.prompt, role=body.role, metadata=body.metadata),
        about=None if body.session_id is None else f"session:{body.session_id}",
        user_id=body.user,
        request_id=request_id(request),
    )
    return Response(decision.body, 200, decision.headers, "application/json")


router.add_api_route(
    "/v1/evaluate", evaluate, methods=["POST"], response_model=EvaluateAnswer, route_class_override=DirectRoute
)


@router.post("/v1/score", response_model=ScoreView)
async def score(body: ScoreBody, state: StateDep, caller: Reader) -> Response:
    """What an act would score. Recorded nowhere, and no verdict that anything may rest on."""
    if body.features is not None:
        law = await state.gate.law(caller.tenant_id)
        verdict = weigh(body.features, law.constitution, production=law.production)
    else:
        evaluation = Evaluation(prompt=body.prompt, role=body.role, metadata=body.metadata)
        verdict = await state.policy.score(caller.tenant_id, evaluation)
    response = json_response(verdict)
    response.headers.update(governed_headers(verdict.allowed, verdict.score, verdict.constitution_hash))
    return response


@router.get("/v1/policies/{tenant}")
async def read_policy(tenant: str, state: StateDep, caller: Reader) -> PolicyView:
    """What is in force: the constitution's weights and threshold in the tenant's mode, and its rules."""
    return await _view(state, _named(state, caller, tenant).tenant_id)


@router.put("/v1/policies/{tenant}")
async def replace_rules(tenant: str, body: rulebook.NewRules, state: StateDep, caller: Writer) -> PolicyView:
    """Replace all rules. Weights and threshold are the constitution's, and change by a proposal only."""
    acting = _changing(state, caller, tenant)
    async with state.app_db.tenant(acting.tenant_id) as session:
        await rulebook.replace_all(await raw_connection(session), acting, body)
    await _in_force(state, acting.tenant_id)
    return await _view(state, acting.tenant_id)


@router.post("/v1/policies/{tenant}/rules", status_code=201, response_model=Rule)
async def add_rule(
    request: Request, tenant: str, body: Rule, state: StateDep, caller: Writer, key: IdempotencyKey = None
) -> Response:
    """Add a rule; it is in force everywhere within a second."""
    acting = _changing(state, caller, tenant)

    async def make(session: AsyncSession) -> Answer:
        await rulebook.add(await raw_connection(session), acting, body)
        return created(201, body, location=f"/v1/policies/{acting.tenant_id}")

    response = await creating(request, acting, key, body, make)
    await _in_force(state, acting.tenant_id)
    return response


@router.delete("/v1/policies/{tenant}/rules/{name}", status_code=204)
async def remove_rule(tenant: str, name: str, state: StateDep, caller: Writer) -> Response:
    """Remove a rule."""
    acting = _changing(state, caller, tenant)
    async with state.app_db.tenant(acting.tenant_id) as session:
        await rulebook.remove(await raw_connection(session), acting, name)
    await _in_force(state, acting.tenant_id)
    return Response(status_code=204)


@router.get("/v1/policies/{tenant}/decisions")
async def decisions(
    tenant: str,
    state: StateDep,
    page: PageDep,
    caller: Reader,
    allowed: bool | None = None,
    source: Annotated[Literal["evaluate", "session", "chat", "job", "step"] | None, Query()] = None,
) -> Page[DecisionView]:
    """Recorded verdicts, newest first. Those on steps that ran stand in their jobs."""
    statement = select(PolicyDecision)
    if allowed is not None:
        statement = statement.where(PolicyDecision.allowed.is_(allowed))
    if source is not None:
        statement = statement.where(PolicyDecision.source == source)
    async with state.app_db.tenant(_named(state, caller, tenant).tenant_id) as session:
        return await fetch_page(
            session, statement, page, PolicyDecision.created_at, PolicyDecision.id, lambda row: _decision(row[0])
        )


def _named(state: State, caller: Caller, tenant: str) -> Caller:
    """The caller, acting for the tenant of the path; another tenant's policy is not there."""
    if tenant == caller.tenant_id:
        return caller
    if not holds(caller, "tenant:any") or tenant not in state.gate.tenants:
        raise SomaError(Code.NOT_FOUND, "There is no such tenant.")
    return replace(caller, tenant_id=tenant, visiting=True)


def _changing(state: State, caller: Caller, tenant: str) -> Caller:
    """The same as one who may change what this tenant's agents are governed by."""
    acting = _named(state, caller, tenant)
    state.gate.training.require_free(acting)
    return acting


async def _in_force(state: State, tenant_id: str) -> None:
    """Read the rules again here before answering, and forget verdicts that rest on the old ones."""
    await state.gate.watch.refresh()
    await state.policy.forget(tenant_id)


async def _view(state: State, tenant_id: str) -> PolicyView:
    law = await state.gate.law(tenant_id)
    constitution = law.constitution
    return PolicyView(
        tenant=tenant_id,
        mode=state.gate.tenants.of(tenant_id).mode,
        constitution_version=constitution.version,
        constitution_hash=constitution.content_hash,
        threshold=constitution.threshold_for(production=law.production),
        weights=constitution.weights,
        rules=list(law.rules.rules),
    )


def _decision(row: PolicyDecision) -> DecisionView:
    return DecisionView.model_validate({name: getattr(row, name) for name in DecisionView.model_fields})
