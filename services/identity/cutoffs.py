"""Ending every token of a person at once: those issued up to now are refused, in every process within a second."""

from __future__ import annotations

from typing import Final

import asyncpg

_CUT_OFF: Final = """
INSERT INTO token_cutoffs (tenant_id, user_id, cut_off_at) VALUES ($1, $2, clock_timestamp())
ON CONFLICT (tenant_id, user_id) DO UPDATE SET cut_off_at = excluded.cut_off_at
"""


async def cut_off(connection: asyncpg.Connection, tenant_id: str, user_id: str) -> None:
    """Refuse the person's tokens of today and before. The row outlives the person.

    The caller commits, and then asks the gate to look (``gate.watch.refresh()``).
    """
    await connection.execute(_CUT_OFF, tenant_id, user_id)
