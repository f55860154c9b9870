"""What is of no use any more goes; what is, stays."""

from __future__ import annotations

import asyncio

import asyncpg

from somagent.services.identity.housekeeping import forget_old
from somagent.tests.api.servers import ApiServer


def test_only_what_is_old_goes(api: ApiServer) -> None:
    run = api.postgres.run
    for days, name in ((0, "new"), (2, "older"), (400, "oldest")):
        run(
            "INSERT INTO login_failures (tenant_id, person, failures, failed_at) "
            "VALUES ('made-up', $1, 1, now() - make_interval(days => $2))", name, days,
        )  # fmt: skip
        run(
            "INSERT INTO token_cutoffs (tenant_id, user_id, cut_off_at) "
            "VALUES ('made-up', $1, now() - make_interval(days => $2))", name, days,
        )  # fmt: skip
        run(
            "INSERT INTO revoked_tokens (jti, tenant_id, user_id, revoked_by, expires_at) "
            "VALUES ($1, 'made-up', 'x', 'x', now() + interval '10 minutes' - make_interval(days => $2))", name, days,
        )  # fmt: skip

    async def clean() -> None:
        connection = await asyncpg.connect(api.postgres.system_url)
        await forget_old(connection)
        await connection.close()

    asyncio.run(clean())
    left = {
        table: [row["name"] for row in run(f"SELECT {column} AS name FROM {table} WHERE tenant_id = 'made-up'")]  # noqa: S608
        for table, column in (("login_failures", "person"), ("token_cutoffs", "user_id"), ("revoked_tokens", "jti"))
    }
    assert left == {"login_failures": ["new"], "token_cutoffs": ["new", "older"], "revoked_tokens": ["new"]}
