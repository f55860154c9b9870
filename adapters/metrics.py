"""Every metric of the product, by name. Each process exports those that it counts; the API exports them all."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call] # the library's own omission

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LONG_SECONDS: Final = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)

# HTTP, every service
http_requests_total = Counter("http_requests_total", "Requests answered", ("service", "method", "route", "status"))
http_request_duration_seconds = Histogram(
    "http_request_duration_seconds", "Seconds to the first byte of the answer", ("service", "method", "route"),
    buckets=_SECONDS,
)  # fmt: skip

# jobs
jobs_requests_total = Counter("jobs_requests_total", "Requests to the jobs service", ("method", "route", "status"))
jobs_by_status = Gauge("jobs_by_status", "Jobs of all tenants, by status", ("status",))

# KAMACHIQ
kamachiq_runs_total = Counter("kamachiq_runs_total", "KAMACHIQ runs ended, by status", ("status",))
kamachiq_run_duration_seconds = Histogram(
    "kamachiq_run_duration_seconds", "Seconds from intake to the end of a run", ("status",), buckets=_LONG_SECONDS
)
kamachiq_governance_block_total = Counter(
    "kamachiq_governance_block_total", "Deliverables that a policy verdict blocked", ("reason",)
)

# gateway and policy
gateway_moderation_decisions_total = Counter(
    "gateway_moderation_decisions_total", "Moderation decisions", ("decision",)
)
gateway_moderation_strikes_total = Counter("gateway_moderation_strikes_total", "Moderation strikes", ("severity",))
policy_evaluations_total = Counter("policy_evaluations_total", "Policy verdicts", ("decision", "severity"))
policy_evaluation_latency_seconds = Histogram(
    "policy_evaluation_latency_seconds", "Seconds that a verdict took", buckets=_SECONDS
)

# models
slm_infer_sync_requests_total = Counter("slm_infer_sync_requests_total", "Synchronous model calls", ("role", "status"))
slm_infer_sync_latency_seconds = Histogram(
    "slm_infer_sync_latency_seconds", "Seconds that a synchronous model call took", ("role",), buckets=_SECONDS
)
slm_queue_depth = Gauge("slm_queue_depth", "Model requests without an answer")

# tools
tool_adapter_executions_total = Counter(
    "tool_adapter_executions_total", "Actions executed", ("adapter", "action", "status")
)
tool_adapter_execution_latency_seconds = Histogram(
    "tool_adapter_execution_latency_seconds", "Seconds that an action took", ("adapter",), buckets=_SECONDS
)
tool_adapter_rate_limit_hits_total = Counter(
    "tool_adapter_rate_limit_hits_total", "Actions that waited for a rate limit", ("adapter",)
)

# drills and memory
dr_failover_duration_seconds = Gauge("dr_failover_duration_seconds", "Seconds that the last disaster drill took")
dr_last_drill_timestamp = Gauge("dr_last_drill_timestamp", "When the last disaster drill ended, seconds since 1970")
memory_backlog = Gauge("memory_backlog", "Memories waiting to reach the memory backend")
