"""Rows of requests to models: reserved and written together, and settled together."""

from __future__ import annotations

from typing import Final

import asyncpg
import orjson

from somagent.domain.errors import Code, SomaError
from somagent.domain.slm.messages import SlmRequest, SlmResponse
from somagent.domain.slm.tokens import estimate_messages, estimate_tokens
from somagent.services.budgets import release, reserve

_STORE: Final = """
INSERT INTO slm_requests (request_id, tenant_id, role, request, status, reserved_tokens)
VALUES ($1, $2, $3, $4::text::jsonb, 'queued', $5)
ON CONFLICT (request_id) DO NOTHING RETURNING true
"""
_OPEN: Final = "SELECT status IN ('queued', 'running') FROM slm_requests WHERE request_id = $1 FOR UPDATE"
_ANSWERED: Final = """
UPDATE slm_requests SET status = $2, response = $3::text::jsonb, finished_at = clock_timestamp() WHERE request_id = $1
"""
_WITHDRAWN: Final = """
UPDATE slm_requests SET status = 'cancelled', finished_at = clock_timestamp() WHERE request_id = $1
"""
_RESPONSE: Final = "SELECT response::text FROM slm_requests WHERE request_id = $1 AND response IS NOT NULL"


def worst_case(request: SlmRequest) -> int:
    """Tokens that one call may use at most: the question as estimated, and every token it may answer with."""
    if request.kind == "embed":
        return sum(map(estimate_tokens, request.input or ()))
    return estimate_messages(request.conversation()) + request.parameters.max_tokens


async def open_request(connection: asyncpg.Connection, request: SlmRequest) -> None:
    """Reserve the worst case of the tenant's day and write the row, or neither; a repeat changes nothing.

    Raises:
        SomaError: ``budget_exhausted``.
    """
    tokens = worst_case(request)
    async with connection.transaction():
        stored = await connection.fetchval(
            _STORE, request.request_id, request.tenant, request.role.value, request.to_bytes().decode(), tokens
        )
        if stored and not await reserve(connection, request.tenant, None, tokens):
            raise SomaError(
                Code.BUDGET_EXHAUSTED,
                f"This may take {tokens:,} tokens; the tenant's budget of today has not so many left. Ask for fewer "
                "with max_tokens, wait for tomorrow (UTC), or have the tenant's budget raised.",
            )


async def close_request(connection: asyncpg.Connection, request_id: str, response: SlmResponse) -> bool:
    """Store the answer and settle the budgets, once, in the caller's transaction; False for a repeat."""
    if not await connection.fetchval(_OPEN, request_id):
        return False
    await release(connection, request_id, spent=response.metrics.total_tokens, cost=response.metrics.cost)
    status = "failed" if response.error else "completed"
    await connection.execute(_ANSWERED, request_id, status, response.model_dump_json())
    return True


async def withdraw_request(connection: asyncpg.Connection, request_id: str) -> bool:
    """Nobody waits any more: give back what was reserved, in the caller's transaction; False where it was settled."""
    if not await connection.fetchval(_OPEN, request_id):
        return False
    await release(connection, request_id)
    await connection.execute(_WITHDRAWN, request_id)
    return True


async def stored_response(connection: asyncpg.Connection, request_id: str) -> SlmResponse | None:
    """The answer, once there is one."""
    text = await connection.fetchval(_RESPONSE, request_id)
    return None if text is None else SlmResponse.model_validate(orjson.loads(text))
