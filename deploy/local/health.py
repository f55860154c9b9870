"""Whether a part answers, asked in its own protocol."""

from __future__ import annotations

import asyncio
import http.client
import socket
import urllib.error
import urllib.request
from urllib.parse import urlsplit

_PATIENCE_SECONDS = 3.0


def fault(probe: str) -> str:
    """Why the part at this address does not answer; empty when it does."""
    try:
        match urlsplit(probe).scheme:
            case "http" | "https":
                return _http_fault(probe)
            case "redis" | "rediss" | "unix":
                return _redis_fault(probe)
            case "postgresql" | "postgres":
                return _postgres_fault(probe)
            case "temporal":
                return _tcp_fault(probe)
            case scheme:
                return f"unknown kind of address: {scheme}"
    except (OSError, http.client.HTTPException, ValueError) as error:
        return str(error) or type(error).__name__


def _http_fault(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=_PATIENCE_SECONDS) as answer:  # noqa: S310 (our own address)
            return "" if answer.status == http.HTTPStatus.OK else f"answered {answer.status}"
    except urllib.error.HTTPError as error:
        return f"answered {error.code}: {error.read(300).decode('utf-8', errors='replace')}"


def _redis_fault(url: str) -> str:
    import redis  # a heavy import, needed only where a Redis is asked

    client = redis.Redis.from_url(url, socket_timeout=_PATIENCE_SECONDS, socket_connect_timeout=_PATIENCE_SECONDS)
    try:
        return "" if client.ping() else "did not answer PING"
    except redis.RedisError as error:
        return str(error)
    finally:
        client.close()


def _postgres_fault(url: str) -> str:
    import asyncpg

    async def ask() -> None:
        connection = await asyncpg.connect(url, timeout=_PATIENCE_SECONDS)
        try:
            await connection.fetchval("select 1", timeout=_PATIENCE_SECONDS)
        finally:
            connection.terminate()

    try:
        asyncio.run(ask())
    except (asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
        return str(error) or type(error).__name__
    return ""


def _tcp_fault(address: str) -> str:
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=_PATIENCE_SECONDS):
        return ""
