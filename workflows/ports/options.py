"""How an activity is called: its queue, time limits and retries. The summary is the caller's."""

from __future__ import annotations

from datetime import timedelta
from typing import TypedDict

from temporalio.common import RetryPolicy


class CallOptions(TypedDict, total=False):
    """Keyword arguments of ``workflow.execute_activity_method`` that belong to the activity, not to the call."""

    task_queue: str
    schedule_to_close_timeout: timedelta
    start_to_close_timeout: timedelta
    heartbeat_timeout: timedelta
    retry_policy: RetryPolicy
