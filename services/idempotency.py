"""Creating once: the first answer to an Idempotency-Key is kept with the work itself, and given again.

Work and answer commit in one transaction, so there is no moment at which one is there without the other.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

import asyncpg

from somagent.domain.caller import Caller
from somagent.domain.errors import Code, Fault, SomaError

AfterCommit = Callable[[], Awaitable[None]]

_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}\Z")
_LOCK: Final = "SELECT pg_try_advisory_xact_lock($1)"
_LOOK: Final = """
    SELECT body_digest, status, location, body FROM idempotency_keys
    WHERE tenant_id = $1 AND user_id = $2 AND key = $3 AND created_at > now() - interval '24 hours'
"""
_KEEP: Final = """
    INSERT INTO idempotency_keys AS kept (tenant_id, user_id, key, body_digest, status, location, body, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, now())
    ON CONFLICT (tenant_id, user_id, key) DO UPDATE
    SET body_digest = excluded.body_digest, status = excluded.status, location = excluded.location,
        body = excluded.body, created_at = excluded.created_at
    WHERE kept.created_at <= now() - interval '24 hours'
    RETURNING true
"""


_FORGET: Final = """
    DELETE FROM idempotency_keys WHERE (tenant_id, user_id, key) IN (
        SELECT tenant_id, user_id, key FROM idempotency_keys WHERE created_at <= now() - interval '24 hours'
        ORDER BY created_at LIMIT $1 FOR UPDATE SKIP LOCKED
    ) AND created_at <= now() - interval '24 hours' RETURNING true
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a creating request answers.

    Attributes:
        body: JSON, as it goes out.
        location: where the new object is found.
        replayed: whether this is the first answer again.
        after_commit: what to do once everything is recorded, and only by the request that recorded it.
    """

    status: int
    body: bytes
    location: str | None = None
    replayed: bool = False
    after_commit: tuple[AfterCommit, ...] = ()


def checked_key(key: str | None) -> str | None:
    """The key itself.

    Raises:
        SomaError: ``validation_failed``, when it is not 1 to 255 visible ASCII characters.
    """
    if key is not None and _KEY.match(key) is None:
        detail = "Idempotency-Key has 1 to 255 visible ASCII characters."
        raise SomaError(
            Code.VALIDATION_FAILED, detail, errors=[Fault("header.Idempotency-Key", "idempotency_key", detail)]
        )
    return key


def fingerprint(method: str, path: str, canonical_body: bytes) -> str:
    """Hex SHA-256 of what a request asks for; the same key must come with the same one."""
    digest = hashlib.sha256(f"{method} {path}\n".encode())
    digest.update(canonical_body)
    return digest.hexdigest()


async def kept_answer(
    connection: asyncpg.Connection, caller: Caller, key: str, request_fingerprint: str
) -> Answer | None:
    """The first answer to a key, where there is one: for what has to be known before anything is begun.

    Raises:
        SomaError: ``idempotency_key_reused``.
    """
    kept = await connection.fetchrow(_LOOK, caller.tenant_id, caller.user_id, key)
    return None if kept is None else _again(kept, request_fingerprint)


async def once(
    connection: asyncpg.Connection,
    caller: Caller,
    key: str | None,
    request_fingerprint: str,
    make: Callable[[], Awaitable[Answer]],
) -> Answer:
    """Make something once for a key; without a key, simply make it.

    Args:
        connection: inside the open transaction of the caller, who commits. ``make`` writes in that transaction too.

    Raises:
        SomaError: ``idempotency_in_progress`` while the first request with the key runs;
            ``idempotency_key_reused`` when the key came with another request.
    """
    if key is None:
        return await make()
    owner = (caller.tenant_id, caller.user_id, key)
    if not await connection.fetchval(_LOCK, _lock_number(*owner)):
        raise _in_progress()
    kept = await connection.fetchrow(_LOOK, *owner)
    if kept is not None:
        return _again(kept, request_fingerprint)
    answer = await make()
    if not await connection.fetchval(_KEEP, *owner, request_fingerprint, answer.status, answer.location, answer.body):
        raise _in_progress()
    return replace(answer, replayed=False)


async def forget_old(connection: asyncpg.Connection, limit: int = 1_000) -> int:
    """Delete answers older than 24 hours, at most ``limit`` of them; of every tenant, where the role is soma_system.

    Answers how many were deleted.
    """
    return len(await connection.fetch(_FORGET, limit))


def _again(kept: asyncpg.Record, request_fingerprint: str) -> Answer:
    if kept["body_digest"] != request_fingerprint:
        raise SomaError(
            Code.IDEMPOTENCY_KEY_REUSED,
            "This Idempotency-Key came with another request before. Use a new key for a new request.",
        )
    return Answer(kept["status"], bytes(kept["body"]), kept["location"], replayed=True)


def _in_progress() -> SomaError:
    return SomaError(
        Code.IDEMPOTENCY_IN_PROGRESS,
        "The first request with this Idempotency-Key is still running. Ask again shortly.",
        retry_after=1,
    )


def _lock_number(tenant_id: str, user_id: str, key: str) -> int:
    digest = hashlib.sha256("\0".join((tenant_id, user_id, key)).encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
