"""The bare side of the API: FastAPI routes that read or insert one row by asyncpg, or get one key from Redis."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import UUID, uuid4

import asyncpg
import orjson
from fastapi import Depends, FastAPI, Request
from pydantic import BaseModel
from redis.asyncio import Redis
from starlette.responses import Response

TABLE = """
CREATE TABLE IF NOT EXISTS bare_jobs (id uuid PRIMARY KEY, capsule_id text NOT NULL, inputs jsonb NOT NULL,
  status text NOT NULL DEFAULT 'queued', created_at timestamptz NOT NULL DEFAULT now())
"""


class Body(BaseModel):
    """What the insert route takes: the same body as ``POST /v1/jobs``."""

    capsule_id: str
    inputs: dict[str, str]


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """One pool, as large as SomaGent's, and Redis."""
    pool = await asyncpg.create_pool(os.environ["BARE_POSTGRES_URL"], min_size=1, max_size=10)
    await pool.execute(TABLE)
    redis = Redis.from_url(os.environ["BARE_REDIS_URL"])
    await redis.set("bare:verdict", b'{"allowed":true}')
    yield {"pool": pool, "redis": redis}
    await redis.aclose()
    await pool.close()


app = FastAPI(lifespan=lifespan)


async def pool_of(request: Request) -> asyncpg.Pool:
    """The pool."""
    pool: asyncpg.Pool = request.state.pool
    return pool


Pool = Annotated[asyncpg.Pool, Depends(pool_of)]


@app.get("/jobs/{job_id}")
async def read(job_id: UUID, pool: Pool) -> Response:
    """One row, as JSON."""
    row = await pool.fetchrow(
        "SELECT id, capsule_id, inputs::text AS inputs, status, created_at FROM bare_jobs WHERE id = $1", job_id
    )
    if row is None:
        return Response(status_code=404)
    body = {**dict(row), "id": str(row["id"]), "inputs": orjson.loads(row["inputs"])}
    return Response(orjson.dumps(body), media_type="application/json")


@app.post("/jobs", status_code=202)
async def insert(body: Body, pool: Pool) -> Response:
    """One row in, its id out."""
    job_id = uuid4()
    await pool.execute(
        "INSERT INTO bare_jobs (id, capsule_id, inputs) VALUES ($1, $2, $3::text::jsonb)",
        job_id,
        body.capsule_id,
        orjson.dumps(body.inputs).decode(),
    )
    return Response(orjson.dumps({"id": str(job_id)}), status_code=202, media_type="application/json")


@app.get("/redis")
async def get(request: Request) -> Response:
    """One key."""
    redis: Redis = request.state.redis
    return Response(await redis.get("bare:verdict"), media_type="application/json")
