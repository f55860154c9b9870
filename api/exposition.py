"""Putting the figures of every process together: this one's, and those of the workers that registered in Redis."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Final

import httpx
import structlog
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from somagent.adapters import metrics
from somagent.adapters.postgres.database import Database
from somagent.api.state import State

_KEYS: Final = "soma:metrics:*"
_FETCH_SECONDS: Final = 1.0
_FRESH_SECONDS: Final = 10.0
_MOST_WORKERS: Final = 64
_LARGEST: Final = 4 * 1024 * 1024
_STATUSES: Final = ("queued", "running", "waiting", "paused", "completed", "failed", "cancelled", "killed")

_log = structlog.get_logger("somagent.api")


@dataclass(frozen=True, slots=True)
class Source:
    """One worker process, as it registered itself under ``soma:metrics:{role}:{host}-{pid}``."""

    role: str
    pid: str
    url: str


async def everything(state: State) -> bytes:
    """The text of /metrics."""
    workers, _ = await asyncio.gather(_worker_families(state), _count_rows(state.system_db))
    own = _labelled(REGISTRY.collect(), "api", str(os.getpid()))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(_merged([*own, *workers])))
    return generate_latest(registry)


class _Collected(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _labelled(families: Iterable[Metric], role: str, pid: str) -> Iterator[Metric]:
    """Tell processes apart by labels of our own: ``role`` is the name of a model's role in some of the metrics."""
    for family in families:
        copy = Metric(family.name, family.documentation, family.type, family.unit)
        copy.samples = [
            sample._replace(labels={**sample.labels, "process": role, "pid": pid}) for sample in family.samples
        ]
        yield copy


def _merged(families: Iterable[Metric]) -> list[Metric]:
    """One family a name: Prometheus refuses a text that begins the same one twice."""
    by_name: dict[str, Metric] = {}
    for family in families:
        known = by_name.setdefault(family.name, family)
        if known is not family:
            known.samples.extend(family.samples)
    return list(by_name.values())


async def _worker_families(state: State) -> list[Metric]:
    try:
        sources = await _sources(state)
    except (RedisError, OSError) as error:
        _log.warning("metrics of the workers are missing", error=type(error).__name__)
        return []
    async with httpx.AsyncClient(timeout=_FETCH_SECONDS, trust_env=False, follow_redirects=False) as client:
        answers = await asyncio.gather(*(_families(client, source) for source in sources))
    return [family for families in answers for family in families]


async def _sources(state: State) -> list[Source]:
    keys = [key async for key in state.redis.scan_iter(match=_KEYS, count=500)][:_MOST_WORKERS]
    urls = await state.redis.mget(keys) if keys else []
    return [
        Source(role, pid, _text(url))
        for key, url in zip(keys, urls, strict=True)
        if url is not None
        for role, _, pid in [_text(key).removeprefix(_KEYS[:-1]).rpartition(":")]
    ]


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


async def _families(client: httpx.AsyncClient, source: Source) -> list[Metric]:
    try:
        answer = await client.get(source.url)
        answer.raise_for_status()
        if len(answer.content) > _LARGEST:
            return []
        return list(_labelled(text_string_to_metric_families(answer.text), source.role, source.pid))
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        _log.info("a worker's metrics are missing", role=source.role, pid=source.pid, error=type(error).__name__)
        return []


class _Freshness:
    """When the rows were last counted: a table is not counted at every scrape."""

    counted_at = -_FRESH_SECONDS


async def _count_rows(database: Database) -> None:
    """Set the gauges whose truth lies in Postgres."""
    if monotonic() - _Freshness.counted_at < _FRESH_SECONDS:
        return
    try:
        async with database.pool.acquire(timeout=_FETCH_SECONDS) as connection:
            rows = await connection.fetch(
                "SELECT status, count(*) AS jobs FROM jobs GROUP BY status", timeout=_FETCH_SECONDS
            )
            waiting = await connection.fetchval(
                "SELECT count(*) FROM slm_requests WHERE status IN ('queued', 'running')", timeout=_FETCH_SECONDS
            )
    except Exception as error:  # a scrape answers with what it has
        _log.warning("jobs were not counted", error=type(error).__name__)
        return
    counts = {row["status"]: row["jobs"] for row in rows}
    for status in _STATUSES:
        metrics.jobs_by_status.labels(status).set(counts.get(status, 0))
    metrics.slm_queue_depth.set(waiting)
    _Freshness.counted_at = monotonic()
