"""Requests as the activities publish them."""

from __future__ import annotations

from typing import Any

from somagent.domain.actions.remote import SlmRole
from somagent.domain.slm.messages import SlmRequest


def asked(prompt: str, role: SlmRole = SlmRole.SUMMARIZATION, request_id: str = "job-1:sum", **more: Any) -> SlmRequest:
    """A request of kind ``complete``."""
    parameters = {name: more.pop(name) for name in ("max_tokens", "schema", "temperature") if name in more}
    return SlmRequest.model_validate(
        {
            "request_id": request_id,
            "tenant": "acme",
            "role": role,
            "prompt": prompt,
            "parameters": parameters,
            "timestamp": "2026-01-01T00:00:00.000000Z",
            **more,
        }
    )


def to_embed(*texts: str, request_id: str = "job-1:embed") -> SlmRequest:
    """A request of kind ``embed``."""
    return SlmRequest(
        request_id=request_id,
        tenant="acme",
        role=SlmRole.EMBEDDINGS,
        kind="embed",
        input=list(texts),
        timestamp="2026-01-01T00:00:00.000000Z",
    )
