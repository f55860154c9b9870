"""Every service of the API with its routers.

A module of :mod:`somagent.api.routers` has one ``router``, made by :func:`somagent.api.deps.soma_router`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter

from somagent.api.routers import (
    attachments,
    audit,
    capsules,
    chat,
    constitution,
    constitution_proposals,
    credentials,
    docs,
    health,
    installations,
    jobs,
    kill_switch,
    login,
    memory,
    metrics,
    model_profiles,
    moderation,
    notifications,
    policies,
    sessions,
    signing_keys,
    submissions,
    tenants,
    tokens,
    training,
    users,
    well_known,
)


@dataclass(frozen=True, slots=True)
class Service:
    """One service: how ``somagent serve NAME`` calls it, and its port when it runs alone."""

    name: str
    port: int
    routers: tuple[APIRouter, ...]


COMMON: Final = (health.router, metrics.router, well_known.router, docs.router)
"""What every process answers, whatever service it runs."""

SERVICES: Final = (
    Service("jobs", 8000, (jobs.router, attachments.router)),
    Service(
        "task-capsule-repo",
        8005,
        (capsules.router, submissions.router, installations.router, signing_keys.router),
    ),
    Service("memory-gateway", 9696, (memory.router,)),
    Service("notification", 8084, (notifications.router,)),
    Service("orchestrator", 8100, (sessions.router, chat.router)),
    Service("constitution", 8300, (constitution_proposals.router, constitution.router)),
    Service("policy-engine", 8400, (policies.router, moderation.router, kill_switch.router, audit.router)),
    Service("settings", 8500, (tenants.router, model_profiles.router)),
    Service("identity", 8600, (users.router, credentials.router, tokens.router, login.router, training.router)),
)
ALL_PORT: Final = 8080
