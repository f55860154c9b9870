"""The capsules that are measured: N light steps in a row."""

from __future__ import annotations

from typing import Any


def light_capsule(steps: int) -> dict[str, Any]:
    """A capsule whose steps fill a short template each, one after another."""
    return {
        "id": f"bench_light_{steps}",
        "version": "1.0.0",
        "summary": f"Fills a short template {steps} times",
        "type": "utility",
        "inputs": [{"name": "t", "type": "string", "required": True}],
        "outputs": {"text": f"{{{{ steps.s{steps - 1}.output.text }}}}"},
        "tools": [{"adapter": "text", "actions": ["template"]}],
        "workflow": {
            "steps": [
                {"id": f"s{n}", "action": "text.template", "params": {"template": "hello {{ inputs.t }}"}}
                for n in range(steps)
            ]
        },
    }
