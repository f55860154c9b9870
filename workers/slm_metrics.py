"""What the SLM consumer shows to Prometheus."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class SlmMetrics:
    """One set of collectors a registry: make it once a process."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.depth = Gauge("slm_queue_topic_depth", "Messages waiting or in hand", ["topic"], registry=registry)
        self.requests = Counter(
            "slm_requests_total", "Requests answered by the consumer", ["role", "model", "outcome"], registry=registry
        )
        self.latency = Histogram(
            "slm_request_latency_seconds",
            "Time of the provider's calls for one request, pauses between them included",
            ["role", "model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.tokens = Counter("slm_tokens_total", "Tokens used", ["role", "model", "kind"], registry=registry)
        self.in_flight = Gauge("slm_requests_in_flight", "Calls to a provider now", ["provider"], registry=registry)
        self.retries = Counter("slm_provider_retries_total", "Calls repeated", ["provider", "code"], registry=registry)
        self.dead = Counter("slm_dead_letters_total", "Requests given up", registry=registry)
