"""What the product itself knows: its environment, its commands, its metrics. The files are held against these."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from functools import cache

from prometheus_client import REGISTRY, CollectorRegistry

from somagent.adapters import metrics
from somagent.adapters.settings import Settings
from somagent.workers.slm_metrics import SlmMetrics

_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
_PARSE = """
import json, sys
from somagent.cli.app import app
faults = []
for tokens in json.load(sys.stdin):
    try:
        app.parse_args(tokens, print_error=False, exit_on_error=False)
    except Exception as error:
        faults.append([tokens, str(error)])
json.dump(faults, sys.stdout)
"""
_TEMPORAL = (
    *("request", "request_failure", "long_request", "long_request_failure", "num_pollers", "worker_start"),
    *("worker_task_slots_available", "worker_task_slots_used", "sticky_cache_size", "sticky_cache_hit"),
    *("workflow_completed", "workflow_failed", "workflow_canceled", "workflow_continue_as_new"),
    *("workflow_task_execution_failed", "activity_execution_failed", "local_activity_execution_failed"),
)
_TEMPORAL_LATENCIES = (
    *("request_latency", "long_request_latency", "workflow_endtoend_latency", "workflow_task_execution_latency"),
    *("workflow_task_replay_latency", "workflow_task_schedule_to_start_latency"),
    *("activity_execution_latency", "activity_schedule_to_start_latency", "activity_succeed_endtoend_latency"),
)
"""Of the SDK's own metrics, those that our rules may use (docs.temporal.io/references/sdk-metrics)."""


def environment_names() -> frozenset[str]:
    """Every variable that a process of the product reads as a setting."""
    return frozenset(field.alias for field in Settings.model_fields.values() if field.alias)


def settings_faults(environment: dict[str, str]) -> list[str]:
    """What the product would refuse in this environment."""
    try:
        Settings.model_validate({name: environment[name] for name in environment_names() & environment.keys()})
    except ValueError as error:
        return [line.strip() for line in str(error).splitlines()[1:] if line.strip()]
    return []


def command_faults(commands: Sequence[Sequence[str]]) -> list[tuple[list[str], str]]:
    """The command lines that ``somagent`` would refuse, with its words. Nothing is run."""
    return _refusals(tuple(tuple(command) for command in commands))


@cache
def _refusals(commands: tuple[tuple[str, ...], ...]) -> list[tuple[list[str], str]]:
    # In a process of its own: the command line is a room above this one.
    done = subprocess.run(
        [sys.executable, "-c", _PARSE],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [(tokens, words) for tokens, words in json.loads(done.stdout)]


def metric_names() -> frozenset[str]:
    """The names under which Prometheus sees what the product counts, and ``up``."""
    loaded = metrics.jobs_by_status is not None  # importing the module has registered them
    own = CollectorRegistry()
    SlmMetrics(own)
    names = {"up", "ALERTS"}
    for family in (*(REGISTRY.collect() if loaded else ()), *own.collect()):
        suffixes = _SUFFIXES.get(family.type, ("",))
        names |= {family.name + suffix for suffix in suffixes}
    names |= {f"temporal_{name}" for name in _TEMPORAL}
    for latency in _TEMPORAL_LATENCIES:
        names |= {f"temporal_{latency}_{part}" for part in ("bucket", "sum", "count")}
    return frozenset(names)
