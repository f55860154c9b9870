"""A stack's life on the command line: up, status, down, and everything is there again."""

from __future__ import annotations

import json
import signal
import stat
import subprocess

import asyncpg
import psutil
import redis

from somagent.tests.harness import LocalStack, describe, lives, words


async def test_everything_lasts_over_down_and_up(local: LocalStack) -> None:
    printed = local.up()
    assert f"http://127.0.0.1:{local.port}" in printed
    first = describe(local)

    parts = local.parts()
    assert next(iter(parts)) == "supervisor"
    assert {"postgres", "redis", "temporal", "temporal-ui"} <= set(parts)
    assert all(part.healthy for part in parts.values())
    assert all(lives(part.pid) for part in parts.values() if part.pid is not None)
    assert not any("@" in part.url for part in parts.values()), "a password may stand in an address"

    again = local.run("up", "--detach")
    assert again.returncode == 0
    assert "already running" in again.stdout
    assert local.pids() == {name: part.pid for name, part in parts.items()}

    connection = await asyncpg.connect(first.postgres_owner_url)
    await connection.execute("create table kept as select 'row' as what")
    await connection.close()
    redis.Redis.from_url(first.redis_url).set("kept", "value")

    assert "is down" in local.down()
    assert not any(lives(part.pid) for part in parts.values() if part.pid is not None)
    status = local.run("status", "--output", "json")
    assert (status.returncode, json.loads(status.stdout)) == (3, {"parts": []})
    assert "Nothing is running" in local.down()

    local.up()
    second = describe(local)
    assert (second.temporal_address, second.redis_url) == (first.temporal_address, first.redis_url)
    connection = await asyncpg.connect(second.postgres_owner_url)
    assert await connection.fetchval("select what from kept") == "row"
    await connection.close()
    assert redis.Redis.from_url(second.redis_url).get("kept") == b"value"


def test_secrets_are_for_their_owner_only(running: LocalStack) -> None:
    for file in ("secrets.json", "run/stack.json", "run/redis.conf"):
        assert stat.S_IMODE((running.data_dir / file).stat().st_mode) == 0o600
    passwords = json.loads((running.data_dir / "secrets.json").read_text()).values()
    logs = "".join(log.read_text(errors="replace") for log in (running.data_dir / "logs").glob("*.log"))
    commands = [argument for process in psutil.process_iter() for argument in words(process)]
    for password in passwords:
        assert password not in logs
        assert not any(password in argument for argument in commands)


def test_in_the_foreground_an_interrupt_ends_everything_in_order(local: LocalStack) -> None:
    process = subprocess.Popen(
        local.command("up", "--port", str(local.port)),
        env=local.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if "Ctrl-C" in line:
            break
    pids = local.pids()
    assert pids["supervisor"] == process.pid
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    process.stdout.close()
    assert not any(lives(pid) for pid in pids.values())
    assert local.run("status").returncode == 3


def test_a_deep_data_directory_works(local: LocalStack) -> None:
    """The path of Postgres' socket would be longer than a unix socket's may be."""
    deep = LocalStack(local.data_dir / ("d" * 60) / ("e" * 60), local.port, local.environment)
    deep.up()
    assert all(part.healthy for part in deep.parts().values())
    deep.down()
