"""Taking in what happened, in the transaction in which it happened."""

from __future__ import annotations

from typing import Final, Literal

import asyncpg
import orjson
from pydantic import Field, JsonValue

from somagent.domain.audit.chain import storable
from somagent.domain.caller import Caller
from somagent.domain.model import JsonObject, Model
from somagent.services.audit.origin import ORIGIN

AuditTopic = Literal["agent.audit", "gateway.audit", "identity.audit", "training.audit", "settings.changed",
                     "mode.changed", "constitution.updated", "policy.decisions", "tool.events"]  # fmt: skip

_TAKE_IN: Final = """
INSERT INTO audit_intake (tenant_id, topic, actor, action, object, outcome, detail, request_id, trace_id)
VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8, $9)
"""


class Happening(Model):
    """Something to answer for. No secret, no token, no prompt in clear belongs in ``detail``.

    Attributes:
        actor: the user's id, or the part of ours that acted ("somagent").
        action: what was done, dotted: ``user.created``, ``job.submitted``, ``kill_switch.engaged``.
        object: what it was done to: ``user:ann``, ``job:0190…``.
        outcome: ``done``, ``refused``, ``allowed`` or ``failed``.
        request_id: that of the request being answered, when None; ``trace_id`` likewise.
    """

    tenant_id: str
    actor: str
    action: str
    object: str
    outcome: str = "done"
    topic: AuditTopic = "agent.audit"
    detail: JsonObject = Field(default_factory=dict)
    request_id: str | None = None
    trace_id: str | None = None


async def take_in(connection: asyncpg.Connection, happening: Happening) -> None:
    """Record it in the caller's transaction; the chain is sealed within a second.

    With an ``AsyncSession``: ``await take_in(await raw_connection(session), happening)``.
    """
    origin = ORIGIN.get()
    what: JsonValue = storable(happening.model_dump(mode="json"))
    assert isinstance(what, dict)  # noqa: S101 - an object stays one
    await connection.execute(
        _TAKE_IN, what["tenant_id"], what["topic"], what["actor"], what["action"], what["object"], what["outcome"],
        orjson.dumps(what["detail"]).decode(), what["request_id"] or origin.request_id,
        what["trace_id"] or origin.trace_id,
    )  # fmt: skip


def by(caller: Caller, action: str, object_: str, **more: object) -> Happening:
    """What a caller did in the tenant it acts for; ``more`` are further fields of :class:`Happening`."""
    return Happening.model_validate(
        {"tenant_id": caller.tenant_id, "actor": caller.user_id, "action": action, "object": object_, **more}
    )
