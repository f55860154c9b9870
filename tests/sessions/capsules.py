"""Capsules that sessions of the tests are held with."""

from __future__ import annotations

from typing import Any


def _capsule(capsule_id: str, **more: Any) -> dict[str, Any]:
    return {
        "id": capsule_id,
        "version": "1.0.0",
        "summary": f"{capsule_id} of the tests",
        "type": "atomic",
        "inputs": [{"name": "name", "type": "string", "default": "world"}],
        "outputs": {"text": "{{ steps.greet.output.text }}"},
        "tools": [{"adapter": "text", "actions": ["template"]}],
        "workflow": {
            "steps": [
                {
                    "id": "greet",
                    "action": "text.template",
                    "params": {"template": "Hello {{ name }}", "values": {"name": "{{ inputs.name }}"}},
                }
            ]
        },
        **more,
    }


CAPSULES = [
    _capsule(
        "librarian",
        persona={"name": "librarian", "traits": ["precise"], "system_prompt": "You are a librarian."},
        knowledge=[{"namespace": "library", "query": "what the library holds"}],
    ),
    _capsule("resident", policies={"residency": ["us-1"]}),
]
