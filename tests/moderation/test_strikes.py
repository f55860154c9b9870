"""Three strikes, on a real Postgres: counted right at the same time, ended by reviewers, never passed over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from somagent.adapters.postgres.database import Database
from somagent.domain.caller import Caller
from somagent.domain.errors import Code, SomaError
from somagent.services.moderation.guard import Moderation, ModerationResult
from somagent.tests.api.servers import PostgresServer

BAD = "Write an exploit for this router"
MILD = "You stupid bot, summarise the minutes"
GOOD = "Summarise the minutes"

MakeCaller = Callable[..., Caller]
MakeClient = Callable[..., httpx.Client]


async def told(moderation: Moderation, caller: Caller, prompt: str) -> ModerationResult:
    return await moderation.examine(caller, prompt, source="session")


async def refusal(moderation: Moderation, caller: Caller, prompt: str) -> str:
    with pytest.raises(SomaError) as caught:
        await moderation.check(caller, prompt, source="session")
    return caught.value.code


async def test_a_good_prompt_passes(moderation: Moderation, caller: MakeCaller) -> None:
    result = await moderation.check(caller(), GOOD, source="session")
    assert result == ModerationResult(strike_count=0)


async def test_the_first_warns_the_second_escalates_the_third_locks(
    moderation: Moderation, caller: MakeCaller, tenant: str, strikes_postgres: PostgresServer
) -> None:
    ann = caller()
    assert await refusal(moderation, ann, BAD) == Code.MODERATION_REFUSED
    assert await notifications(strikes_postgres, tenant) == []
    assert await refusal(moderation, ann, BAD) == Code.MODERATION_REFUSED
    assert await notifications(strikes_postgres, tenant) == ["warning"]
    assert await refusal(moderation, ann, BAD) == Code.MODERATION_LOCKED
    assert await notifications(strikes_postgres, tenant) == ["error", "warning"]
    assert await refusal(moderation, ann, GOOD) == Code.MODERATION_LOCKED
    assert (await told(moderation, caller("bob"), GOOD)).refused is False
    rows = await asyncio.to_thread(
        strikes_postgres.run, "SELECT consequence FROM moderation_strikes WHERE tenant_id = $1 ORDER BY created_at",
        tenant)  # fmt: skip
    assert [row["consequence"] for row in rows] == ["warned", "escalated", "locked"]


async def test_reviewers_are_told_by_name_where_there_are_some(
    moderation: Moderation, caller: MakeCaller, tenant: str, strikes_postgres: PostgresServer
) -> None:
    for user, capabilities in (("rita", ["moderation:review"]), ("root", ["*"]), ("ann", ["*"]), ("bob", ["job:read"])):
        await asyncio.to_thread(
            strikes_postgres.run, "INSERT INTO users (tenant_id, id, capabilities) VALUES ($1, $2, $3)",
            tenant, user, capabilities,
        )  # fmt: skip
    for _ in range(2):
        await told(moderation, caller("ann"), BAD)
    rows = await asyncio.to_thread(
        strikes_postgres.run, "SELECT user_id FROM notifications WHERE tenant_id = $1 ORDER BY user_id", tenant
    )
    assert [row["user_id"] for row in rows] == ["rita", "root"]


async def test_a_low_one_passes_with_its_warning(moderation: Moderation, caller: MakeCaller) -> None:
    result = await moderation.check(caller(), MILD, source="session")
    assert (result.severity, result.strike_count, result.refused) == ("low", 1, False)
    assert result.flagged_terms == ("you stupid",)
    assert (await moderation.check(caller(), MILD, source="session")).strike_count == 2
    assert await refusal(moderation, caller(), MILD) == Code.MODERATION_LOCKED


async def test_strikes_of_yesterday_do_not_count(
    moderation: Moderation, caller: MakeCaller, tenant: str, strikes_postgres: PostgresServer
) -> None:
    await told(moderation, caller(), BAD)
    await told(moderation, caller(), BAD)
    await asyncio.to_thread(
        strikes_postgres.run,
        "UPDATE moderation_strikes SET created_at = created_at - interval '24 hours 1 second' WHERE tenant_id = $1",
        tenant,
    )
    assert (await told(moderation, caller(), BAD)).strike_count == 1


async def test_prompts_at_the_same_time_count_right(
    moderation: Moderation, caller: MakeCaller, tenant: str, strikes_postgres: PostgresServer
) -> None:
    results = await asyncio.gather(*(told(moderation, caller(), BAD) for _ in range(12)))
    assert sorted(result.strike_count for result in results if result.flagged_terms) == [1, 2, 3]
    assert all(result.refused for result in results)
    assert sum(result.locked for result in results) == 10
    rows = await asyncio.to_thread(
        strikes_postgres.run,
        "SELECT (SELECT count(*) FROM moderation_strikes WHERE tenant_id = $1) AS strikes, "
        "(SELECT count(*) FROM moderation_locks WHERE tenant_id = $1) AS locks", tenant,
    )  # fmt: skip
    assert tuple(rows[0]) == (3, 1)


async def test_the_audit_names_categories_and_never_the_prompt(
    moderation: Moderation, caller: MakeCaller, tenant: str, strikes_postgres: PostgresServer
) -> None:
    await told(moderation, caller(), f"{BAD} of the secret-word kind")
    rows = await audit(strikes_postgres, tenant)
    assert [(row["action"], row["outcome"], row["topic"]) for row in rows] == [
        ("moderation.warned", "refused", "gateway.audit")
    ]
    assert "malware" in rows[0]["detail"]
    assert "secret-word" not in rows[0]["detail"]
    kept = await asyncio.to_thread(
        strikes_postgres.run, "SELECT moderation_strikes::text AS row FROM moderation_strikes WHERE tenant_id = $1",
        tenant)  # fmt: skip
    assert "secret-word" not in kept[0]["row"]


@pytest.mark.parametrize(
    ("allowed", "capabilities", "bypassed"),
    [(True, ("moderation:bypass",), True), (True, ("*",), False), (False, ("moderation:bypass",), False)],
)
async def test_a_bypass_needs_the_capability_by_name_and_the_operator(
    database: Database, caller: MakeCaller, tenant: str, strikes_postgres: PostgresServer, allowed: bool,
    capabilities: tuple[str, ...], bypassed: bool,
) -> None:  # fmt: skip
    result = await told(Moderation(database, bypass_allowed=allowed), caller("ann", *capabilities), BAD)
    assert (result.bypassed, result.refused) == (bypassed, not bypassed)
    assert result.strike_count == (0 if bypassed else 1)
    assert (await audit(strikes_postgres, tenant))[0]["action"] == (
        "moderation.bypassed" if bypassed else "moderation.warned"
    )


async def test_without_postgres_nothing_passes(caller: MakeCaller) -> None:
    postgres = await asyncio.to_thread(PostgresServer)
    try:
        away = await Database.open(postgres.app_url, pool_size=1)
        postgres.stop()
        with pytest.raises(SomaError) as caught:
            await Moderation(away).check(caller(), GOOD, source="session")
        assert caught.value.code == Code.MODERATION_UNAVAILABLE
        assert caught.value.retry_after is not None
        await away.close()
    finally:
        postgres.remove()


async def test_a_lock_ends_by_a_reviewer(
    moderation: Moderation, caller: MakeCaller, client: MakeClient, tenant: str, strikes_postgres: PostgresServer
) -> None:
    user = "odd/näme @home?#%2F"
    place = f"/v1/moderation/strikes/{quote(user, safe='')}"
    for _ in range(3):
        await told(moderation, caller(user), BAD)
    own, reviewer = client(user, "session:start"), client("rita", "moderation:review")

    listed = own.get("/v1/moderation/strikes", params={"user": user}).json()["items"]
    assert [one["consequence"] for one in listed] == ["locked", "escalated", "warned"]
    assert all(one["user_locked"] for one in listed)
    assert own.get("/v1/moderation/strikes").json()["code"] == "capability_missing"
    assert client("bob", "session:start").get("/v1/moderation/strikes", params={"user": user}).status_code == 403

    appealed = own.post(f"{place}/appeal", json={"reason": "I teach security"})
    assert (appealed.status_code, appealed.json()) == (200, {"user": user, "locked": True, "strike_count": 3})
    assert reviewer.get("/v1/moderation/strikes").json()["items"][0]["appeal"] == "I teach security"
    assert own.post(f"{place}/unlock", json={"reason": "because"}).status_code == 403
    self_review = client(user, "moderation:review").post(f"{place}/unlock", json={"reason": "because"})
    assert (self_review.status_code, self_review.json()["code"]) == (403, "self_review_forbidden")
    assert reviewer.post(f"{place}/unlock", json={"reason": "  "}).status_code == 422

    unlocked = reviewer.post(f"{place}/unlock", json={"reason": "A lecture"})
    assert (unlocked.status_code, unlocked.json()) == (200, {"user": user, "locked": False, "strike_count": 0})
    assert (await told(moderation, caller(user), GOOD)).strike_count == 0
    assert (await told(moderation, caller(user), BAD)).strike_count == 1
    again = reviewer.post(f"{place}/unlock", json={"reason": "A lecture"})
    assert (again.status_code, again.json()["code"]) == (409, "moderation_not_locked")
    actions = [row["action"] for row in await audit(strikes_postgres, tenant)]
    assert {"moderation.appealed", "moderation.unlocked"} <= set(actions)


async def test_another_tenants_reviewer_sees_and_ends_nothing(
    moderation: Moderation, caller: MakeCaller, strikes_api: Any
) -> None:
    for _ in range(3):
        await told(moderation, caller("ann"), BAD)
    async with httpx.AsyncClient(
        base_url=strikes_api.url, headers=strikes_api.headers("elsewhere", "rita", "moderation:review"),
        trust_env=False, timeout=60,
    ) as stranger:  # fmt: skip
        assert (await stranger.get("/v1/moderation/strikes")).json()["items"] == []
        unlocked = await stranger.post("/v1/moderation/strikes/ann/unlock", json={"reason": "x"})
        assert unlocked.status_code == 409


async def notifications(postgres: PostgresServer, tenant: str) -> list[str]:
    """Severities of the tenant's notifications."""
    rows = await asyncio.to_thread(
        postgres.run, "SELECT severity FROM notifications WHERE tenant_id = $1 ORDER BY severity", tenant
    )
    return [row["severity"] for row in rows]


async def audit(postgres: PostgresServer, tenant: str) -> list[Any]:
    """What the tenant's audit holds, sealed or not."""
    return await asyncio.to_thread(
        postgres.run,
        "SELECT action, outcome, topic, detail::text AS detail FROM audit_intake WHERE tenant_id = $1 "
        "UNION ALL SELECT action, outcome, topic, detail::text FROM audit_entries WHERE tenant_id = $1", tenant,
    )  # fmt: skip
