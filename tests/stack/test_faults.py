"""What a stack does when something dies, is taken, or is missing."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable

import psutil

from somagent.deploy.local.layout import Layout
from somagent.deploy.local.state import Phase, read_state
from somagent.tests.harness import LocalStack, describe, lives, words


def eventually(holds: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Whether it comes to hold in this time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def test_killed_parts_come_back(running: LocalStack) -> None:
    before = running.pids()
    victims = [name for name in before if name not in ("supervisor", "temporal-ui")]
    for name in victims:
        os.kill(before[name], signal.SIGKILL)

    def recovered() -> bool:
        parts = running.parts()
        return all(parts[name].healthy and parts[name].pid != before[name] for name in victims)

    assert eventually(recovered), running.parts()
    assert running.pids()["supervisor"] == before["supervisor"]


def test_two_stacks_live_side_by_side(running: LocalStack, local: LocalStack) -> None:
    local.up()
    one, other = describe(running), describe(local)
    assert one.temporal_address != other.temporal_address
    assert one.redis_url != other.redis_url
    assert one.postgres_owner_url != other.postgres_owner_url
    local.down()
    assert all(part.healthy for part in running.parts().values())


def test_a_taken_port_is_said_and_nothing_starts(local: LocalStack) -> None:
    with socket.create_server(("127.0.0.1", local.port)):
        done = local.run("up", "--detach", "--port", str(local.port))
    assert done.returncode == 1
    assert f"Port {local.port} is taken" in done.stderr
    assert local.run("status").returncode == 3
    assert not [process for process in psutil.process_iter() if str(local.data_dir) in " ".join(words(process))]


def test_everything_killed_comes_up_again(local: LocalStack) -> None:
    local.up()
    before = local.pids()
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    assert local.run("status").returncode == 3
    local.up()
    after = local.parts()
    assert all(part.healthy for part in after.values())
    assert list(after) == list(before)


def test_children_do_not_outlive_a_killed_supervisor(local: LocalStack) -> None:
    local.up()
    pids = local.pids()
    os.kill(pids.pop("supervisor"), signal.SIGKILL)
    assert eventually(lambda: not any(lives(pid) for pid in pids.values()))
    local.up()
    assert all(part.healthy for part in local.parts().values())


def test_a_part_that_keeps_dying_ends_the_stack_with_its_name(local: LocalStack) -> None:
    local.up()
    layout = Layout.of(local.data_dir)
    others = local.pids()

    def given_up() -> bool:
        state = read_state(layout)
        redis = state.part("redis") if state is not None else None
        if redis is not None and redis.pid is not None and lives(redis.pid):
            os.kill(redis.pid, signal.SIGKILL)
        return state is not None and state.phase is Phase.FAILED

    assert eventually(given_up)
    state = read_state(layout)
    assert state is not None
    assert "redis died 6 times within 60 s" in state.message
    assert eventually(lambda: not any(lives(pid) for pid in others.values()))


def test_parts_with_an_address_in_the_environment_are_not_started(running: LocalStack, local: LocalStack) -> None:
    theirs = describe(running)
    given = {
        "POSTGRES_URL": theirs.postgres_owner_url,
        "SOMAGENT_POSTGRES_APP_URL": theirs.env["SOMAGENT_POSTGRES_APP_URL"],
        "SOMAGENT_POSTGRES_SYSTEM_URL": theirs.env["SOMAGENT_POSTGRES_SYSTEM_URL"],
        "REDIS_URL": theirs.redis_url,
        "TEMPORAL_ADDRESS": theirs.temporal_address,
    }
    guest = LocalStack(local.data_dir, local.port, {**local.environment, **given})
    guest.up()
    parts = guest.parts()
    for name in ("postgres", "redis", "temporal"):
        assert parts[name].pid is None
        assert parts[name].healthy
    guest.down()
    assert all(part.healthy for part in running.parts().values())


def test_an_address_that_does_not_answer_is_named(local: LocalStack) -> None:
    wrong = {**local.environment, "POSTGRES_URL": "postgresql://someone:secret@127.0.0.1:1/none"}
    done = LocalStack(local.data_dir, local.port, wrong).run("up", "--detach", "--port", str(local.port))
    assert done.returncode == 1
    assert "127.0.0.1:1/none does not answer" in done.stderr
    assert "secret" not in done.stdout + done.stderr
    assert local.run("status").returncode == 3
