"""The bare side: a workflow with N activities, each returning a short text, by the Temporal SDK alone."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity, workflow

WORKFLOW_QUEUE = "bare-workflows"
ACTIVITY_QUEUE = "bare-activities"


@activity.defn(name="bare_step")
async def bare_step(text: str) -> str:
    """As little as a light step does: fill a short template."""
    return f"hello {text}"


@workflow.defn(name="BareWorkflow")
class BareWorkflow:
    """The activities one after another."""

    @workflow.run
    async def run(self, steps: int) -> str:
        text = "x"
        for _ in range(steps):
            text = await workflow.execute_activity(
                bare_step, "x", task_queue=ACTIVITY_QUEUE, start_to_close_timeout=timedelta(seconds=30)
            )
        return text
