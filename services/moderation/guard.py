"""Moderation: a prompt is screened, strikes are counted, and who has three in a day is locked out until a review.

No answer is a refusal: while the strikes cannot be read or written, no prompt passes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

import asyncpg

from somagent.adapters.metrics import gateway_moderation_decisions_total, gateway_moderation_strikes_total
from somagent.adapters.postgres.database import Database, TenantConnection
from somagent.domain.caller import Caller
from somagent.domain.capabilities import Capability, holds
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import Model
from somagent.domain.moderation.lexicon import screen
from somagent.domain.moderation.screening import Gravity, Screening
from somagent.services.audit.intake import by, take_in
from somagent.services.moderation.strikes import Strike, add_strike, one_at_a_time, standing
from somagent.services.moderation.telling import tell_reviewers

_LONG_PROMPT: Final = 16_384
"""Characters from which on a prompt is screened beside the event loop."""
_STORE_SECONDS: Final = 5.0


class ModerationResult(Model):
    """What became of a prompt. The first four fields are the contract's ``moderation`` of a session."""

    strike_count: int
    """Strikes of the last 24 hours that count, this one included."""
    flagged_terms: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    """``category: severity``, or why nothing was looked at."""
    bypassed: bool = False
    severity: str = "none"
    """none, low, medium, high or critical."""
    refused: bool = False
    locked: bool = False

    def require_passed(self) -> None:
        """Insist that the prompt passed.

        Raises:
            SomaError: ``moderation_locked`` or ``moderation_refused``.
        """
        if self.locked:
            raise SomaError(
                Code.MODERATION_LOCKED,
                "Your prompts are refused after three flagged ones within 24 hours, until a reviewer unlocks you. "
                "POST /v1/moderation/strikes/{user}/appeal asks for that.",
            )
        if self.refused:
            raise SomaError(
                Code.MODERATION_REFUSED,
                f"The prompt is refused ({', '.join(self.reasons)}). This is strike {self.strike_count} of 3 within "
                "24 hours; the third locks. Ask for something else, or appeal if this is a mistake.",
            )


@dataclass(frozen=True, slots=True)
class _Prompt:
    """A screened prompt and whence it came."""

    caller: Caller
    screening: Screening
    source: str
    about: str
    request_id: str | None


class Moderation:
    """Screens prompts and counts strikes."""

    def __init__(self, database: Database, *, bypass_allowed: bool = False) -> None:
        """``bypass_allowed``: the operator's SOMAGENT_ALLOW_MODERATION_BYPASS."""
        self._database = database
        self._bypass_allowed = bypass_allowed

    async def check(
        self, caller: Caller, prompt: str, *, source: str, about: str | None = None, request_id: str | None = None
    ) -> ModerationResult:
        """Let a prompt of ``caller`` pass, or refuse it. Commits by itself, whatever the caller's transaction does.

        Args:
            source: session, turn or chat.
            about: what the audit names as its object, as ``session:0190…``; the user when absent.

        Raises:
            SomaError: ``moderation_refused``, ``moderation_locked`` (403); ``moderation_unavailable`` (503).
        """
        result = await self.examine(caller, prompt, source=source, about=about, request_id=request_id)
        result.require_passed()
        return result

    async def examine(
        self, caller: Caller, prompt: str, *, source: str, about: str | None = None, request_id: str | None = None
    ) -> ModerationResult:
        """The same without raising for a refusal: ``refused`` and ``locked`` say it.

        Raises:
            SomaError: ``moderation_unavailable``.
        """
        screening = await _screened(prompt)
        screened = _Prompt(caller, screening, source, about or f"user:{caller.user_id}", request_id)
        try:
            async with asyncio.timeout(_STORE_SECONDS), self._database.connection(caller.tenant_id) as connection:
                result = await self._counted(connection, screened)
        except (SomaError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise SomaError(
                Code.MODERATION_UNAVAILABLE,
                "The record of strikes does not answer, so no prompt can pass. Try again shortly.",
                retry_after=2,
            ) from error
        _count(result)
        return result

    async def _counted(self, connection: TenantConnection, prompt: _Prompt) -> ModerationResult:
        if self._bypass_allowed and holds(prompt.caller, Capability.MODERATION_BYPASS):
            return await _bypassed(connection, prompt)
        if not prompt.screening.flags:
            now = await standing(connection, prompt.caller.tenant_id, prompt.caller.user_id)
            if not now.locked:
                return ModerationResult(strike_count=now.strikes)
        async with connection.transaction():
            return await _struck(connection, prompt)


async def _struck(connection: TenantConnection, prompt: _Prompt) -> ModerationResult:
    tenant_id, user_id = prompt.caller.tenant_id, prompt.caller.user_id
    await one_at_a_time(connection, tenant_id, user_id)
    now = await standing(connection, tenant_id, user_id)
    screening = prompt.screening
    if now.locked:
        result = ModerationResult(strike_count=now.strikes, reasons=("locked",), refused=True, locked=True)
        await _audit(connection, prompt, "moderation.locked_out", result)
        return result
    if not screening.flags:
        return ModerationResult(strike_count=now.strikes)
    strike = await add_strike(connection, tenant_id, user_id, screening, prompt.source, now.strikes)
    locks = strike.consequence == "locked"
    result = ModerationResult(
        strike_count=strike.count,
        flagged_terms=screening.terms,
        reasons=_reasons(screening),
        severity=screening.gravity.word,
        refused=locks or screening.gravity >= Gravity.MEDIUM,
        locked=locks,
    )
    await _audit(connection, prompt, f"moderation.{strike.consequence}", result)
    if strike.consequence != "warned":
        await _tell_admins(connection, prompt, strike)
    return result


async def _bypassed(connection: TenantConnection, prompt: _Prompt) -> ModerationResult:
    now = await standing(connection, prompt.caller.tenant_id, prompt.caller.user_id)
    screening = prompt.screening
    result = ModerationResult(
        strike_count=now.strikes,
        flagged_terms=screening.terms,
        reasons=_reasons(screening),
        severity=screening.gravity.word,
        bypassed=True,
    )
    await _audit(connection, prompt, "moderation.bypassed", result)
    return result


async def _audit(connection: asyncpg.Connection, prompt: _Prompt, action: str, result: ModerationResult) -> None:
    """What happened, by its categories; never the prompt, nor its words."""
    detail = {
        "source": prompt.source,
        "categories": list(prompt.screening.categories),
        "severity": prompt.screening.gravity.word,
        "strike_count": result.strike_count,
        "bypassed": result.bypassed,
    }
    outcome = "refused" if result.refused else "allowed"
    happening = by(
        prompt.caller, action, prompt.about, topic="gateway.audit", outcome=outcome, detail=detail,
        request_id=prompt.request_id,
    )  # fmt: skip
    await take_in(connection, happening)


async def _tell_admins(connection: asyncpg.Connection, prompt: _Prompt, strike: Strike) -> None:
    locked = strike.consequence == "locked"
    what = "is locked until a reviewer unlocks" if locked else "has one strike left before a lock"
    await tell_reviewers(
        connection,
        prompt.caller.tenant_id,
        prompt.caller.user_id,
        f"Moderation: strike {strike.count} of user {prompt.caller.user_id} within 24 hours "
        f"({', '.join(prompt.screening.categories)}); the user {what}.",
        severity="error" if locked else "warning",
        effect_key=f"moderation:{strike.strike_id}",
    )


def _reasons(screening: Screening) -> tuple[str, ...]:
    return tuple(f"{flag.category}: {flag.gravity.word}" for flag in screening.flags)


def _count(result: ModerationResult) -> None:
    decision = (
        "bypassed" if result.bypassed else "locked" if result.locked else "refused" if result.refused
        else "warned" if result.flagged_terms else "passed"
    )  # fmt: skip
    gateway_moderation_decisions_total.labels(decision).inc()
    if result.flagged_terms and not result.bypassed:
        gateway_moderation_strikes_total.labels(result.severity).inc()


async def _screened(prompt: str) -> Screening:
    if len(prompt) > _LONG_PROMPT:
        return await asyncio.to_thread(screen, prompt)
    return screen(prompt)
