"""What each role does: which task queues it polls, with which workflows and activities."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol

from prometheus_client import REGISTRY
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import Worker, WorkerDeploymentConfig, WorkerTuner

from somagent.activities.jobs import HeavySteps, JobWork, ModelRequests, SandboxedSteps
from somagent.adapters.settings import Settings
from somagent.services.kill_switch.watching import StopWatch
from somagent.services.notifications import Channels
from somagent.services.starter import WORKFLOW_QUEUE
from somagent.workers.answers import Answers
from somagent.workers.capsules import capsule_activities, capsule_workflows
from somagent.workers.constitution import constitution_activities, constitution_workflows
from somagent.workers.parts import Parts
from somagent.workers.runner import workflow_runner
from somagent.workers.sessions import session_activities, session_workflows
from somagent.workers.slm_consumer import SlmConsumer
from somagent.workers.slm_metrics import SlmMetrics
from somagent.workflows.job_execution import JobExecutionWorkflow
from somagent.workflows.ports.jobs import ACTIVITY_QUEUE, SLM_QUEUE, TOOL_QUEUE

GRACE = timedelta(seconds=12)
HEARTBEATS = timedelta(seconds=1.5)
"""How often a running step's heartbeat is sent on at most; its cancellation comes back with one."""
STICKY = timedelta(seconds=3)
"""How long a workflow task waits for the worker that has its history; recovery from kill -9 takes about as long."""


class Role(Protocol):
    """A worker's work."""

    async def run(self) -> None:
        """Work until :meth:`stop`."""

    async def stop(self, grace_seconds: float) -> None:
        """Finish what is in hand, and take nothing new."""


class Workers:
    """Temporal workers of one process, and what runs beside them."""

    def __init__(self, workers: Sequence[Worker], beside: Sequence[SlmConsumer] = ()) -> None:
        self._workers = workers
        self._beside = beside

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for worker in self._workers:
                group.create_task(worker.run())
            for consumer in self._beside:
                group.create_task(consumer.run())

    async def stop(self, grace_seconds: float) -> None:
        consumers = [consumer.stop(grace_seconds) for consumer in self._beside]
        await asyncio.gather(*consumers, *(worker.shutdown() for worker in self._workers))


def _worker(
    parts: Parts, queue: str, activities: Sequence[Callable[..., Any]], workflows: Sequence[type] = (), **slots: int
) -> Worker:
    return Worker(
        parts.client,
        task_queue=queue,
        activities=activities,
        workflows=workflows,
        workflow_runner=workflow_runner(),
        graceful_shutdown_timeout=GRACE,
        max_heartbeat_throttle_interval=HEARTBEATS,
        sticky_queue_schedule_to_start_timeout=STICKY,
        deployment_config=_deployment(parts.settings.build_id),
        identity=f"{queue}@{socket.gethostname()}:{os.getpid()}",
        **_tuning(parts.settings, slots),
    )


def _tuning(settings: Settings, slots: Mapping[str, int]) -> dict[str, Any]:
    """The slots given, or a tuner that watches the machine."""
    if settings.worker_tuning == "fixed":
        return dict(slots)
    return {"tuner": WorkerTuner.create_resource_based(target_memory_usage=0.8, target_cpu_usage=0.9)}


def _deployment(build_id: str) -> WorkerDeploymentConfig | None:
    """Worker Versioning where a build id is set (production); the embedded stack goes without."""
    if not build_id:
        return None
    version = WorkerDeploymentVersion(deployment_name="somagent", build_id=build_id)
    return WorkerDeploymentConfig(
        version=version, use_worker_versioning=True, default_versioning_behavior=VersioningBehavior.PINNED
    )


def _job_work(parts: Parts) -> list[Callable[..., Any]]:
    channels = Channels.from_settings(parts.settings)
    work = JobWork(parts.app_db, parts.runner, parts.children, channels, parts.wakeups, parts.gate)
    return [
        work.run_segment,
        work.open_approval,
        work.record_vote,
        work.open_child,
        work.close_child,
        work.conclude_job,
    ]


def workflows_role(parts: Parts) -> Role:
    """Workflow tasks, with the local activities that belong to them."""
    activities = [*_job_work(parts), *capsule_activities(parts.app_db, parts.system_db, parts.folder)]
    workflows = [
        JobExecutionWorkflow,
        *capsule_workflows(),
        *constitution_workflows(),
        *session_workflows(parts.settings.build_id),
    ]
    return Workers([_worker(parts, WORKFLOW_QUEUE, activities, workflows, max_concurrent_local_activities=32)])


def activities_role(parts: Parts) -> Role:
    """Activities: ordinary ones, and those that run programs."""
    stops = StopWatch(parts.app_db, parts.gate)
    ordinary = [
        *_job_work(parts),
        HeavySteps(parts.runner, stops).run_step,
        *capsule_activities(parts.app_db, parts.system_db, parts.folder),
        *constitution_activities(parts.app_db),
        *session_activities(parts),
    ]
    sandboxed = [SandboxedSteps(parts.runner, stops).run_sandboxed_step]
    return Workers(
        [
            _worker(parts, ACTIVITY_QUEUE, ordinary, max_concurrent_activities=50),
            _worker(parts, TOOL_QUEUE, sandboxed, max_concurrent_activities=max(4, 2 * (os.cpu_count() or 1))),
        ]
    )


def slm_role(parts: Parts) -> Role:
    """Requests to models, and the consumer that answers them."""
    answers = Answers(parts.app_db, parts.models, parts.turns, parts.wakeups, parts.client)
    consumer = SlmConsumer(
        parts.queue,
        parts.providers,
        answers,
        SlmMetrics(REGISTRY),
        name=f"{socket.gethostname()}-{os.getpid()}",
    )
    requests = _worker(parts, SLM_QUEUE, [ModelRequests(parts.models).request_completion])
    return Workers([requests], [consumer])
