"""Capsules for tests."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from somagent.domain.canonical import sha256_hex


def capsule(capsule_id: str = "", version: str = "1.0.0", **changes: Any) -> dict[str, Any]:
    """A small capsule that writes a file; an id of its own unless one is given."""
    definition: dict[str, Any] = {
        "id": capsule_id or f"note-{uuid4().hex[:8]}",
        "version": version,
        "summary": "Writes a greeting into a file of the job's folder",
        "type": "atomic",
        "inputs": [{"name": "name", "type": "string", "required": True, "description": "Who is greeted"}],
        "outputs": {"path": "{{ steps.write.output.path }}"},
        "tools": [{"adapter": "text", "actions": ["template"]}, {"adapter": "files", "actions": ["write"]}],
        "policies": {"budget_tokens": 1000, "max_duration_seconds": 60},
        "workflow": {
            "steps": [
                {
                    "id": "greet",
                    "action": "text.template",
                    "params": {"template": "Hello {{ inputs.name }}", "values": {}},
                    "needs": [],
                },
                {
                    "id": "write",
                    "action": "files.write",
                    "params": {"path": "greeting.md", "content": "{{ steps.greet.output.text }}"},
                },
            ]
        },
    }
    return {**definition, **changes}


def submission(definition: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The body that hands a definition in."""
    body = {
        "capsule_id": definition["id"],
        "version": definition["version"],
        "owner": "platform team",
        "summary": definition["summary"],
        "definition": definition,
        "attestation_hash": sha256_hex(definition),
    }
    return {**body, **changes}
