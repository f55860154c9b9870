"""Definitions for tests: the contract's example, and ways to change it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from somagent.domain.capsules.validation import definition_faults
from somagent.domain.errors import Fault

TICKET_DIGEST = """
id: ticket_digest
version: 1.2.0
summary: Condenses the open tickets of a folder into one page with citations
type: atomic
persona: {name: analyst, traits: [precise], system_prompt: Answer from the given text only.}
inputs: [{name: folder, type: string, required: true, description: "shared/NAME or attachments"}]
outputs: {page: "{{ steps.write.output.path }}", words: "{{ steps.count.output.parts }}"}
tools: [{adapter: files, actions: [list, read, write]}, {adapter: slm, actions: [complete]}, {adapter: text, actions: [join, template]}]
policies: {budget_tokens: 6000, requires_review: false, max_duration_seconds: 900}
workflow:
  steps:
    - {id: list, action: files.list, params: {path: "{{ inputs.folder }}"}, needs: []}
    - {id: read, action: files.read, params: {path: "{{ steps.list.output.entries.0.path }}"}}
    - {id: sum, action: slm.complete, params: {role: summarization, prompt: "{{ steps.read.output.content }}", max_tokens: 400}, retry: {max_attempts: 3, backoff_seconds: 2}}
    - {id: write, action: files.write, params: {path: page.md, content: "{{ steps.sum.output.completion }}"}, when: "steps.sum.output.completion != ''"}
    - {id: count, action: text.split, params: {text: "{{ steps.sum.output.completion }}", by: " "}, needs: [sum]}
"""  # noqa: E501  the contract's own lines

Raw = dict[str, Any]


def ticket_digest() -> Raw:
    """The contract's example."""
    raw: Raw = yaml.safe_load(TICKET_DIGEST)
    return raw


def template_step(name: str, needs: Sequence[str] | None = None, text: str = "x") -> Raw:
    """A light step."""
    step: Raw = {"id": name, "action": "text.template", "params": {"template": text}}
    return step if needs is None else {**step, "needs": list(needs)}


def tools(*actions: str) -> list[Raw]:
    """Declarations of actions, by their full names."""
    parted = [action.partition(".") for action in actions]
    return [{"adapter": adapter, "actions": [verb]} for adapter, _, verb in parted]


def capsule(steps: Sequence[Raw], **changes: object) -> Raw:
    """A definition around ``steps`` that declares every adapter."""
    adapters = {
        "text": ["template", "split", "join"], "files": ["read", "write", "list"], "http": ["request"],
        "slm": ["complete"], "capsule": ["run"], "human": ["approve"], "shell": ["execute"], "memory": ["recall"],
    }  # fmt: skip
    return {
        "id": "sample",
        "version": "1.0.0",
        "summary": "A capsule that a test is about",
        "type": "atomic",
        "tools": [{"adapter": name, "actions": verbs} for name, verbs in adapters.items()],
        "workflow": {"steps": list(steps)},
        **changes,
    }


def faults_at(raw: object) -> dict[str, str]:
    """Code by path; a path with several faults keeps the last."""
    return {fault.path: fault.code for fault in definition_faults(raw)}


def fault(raw: object, path: str) -> Fault:
    """The one fault at ``path``."""
    found = [entry for entry in definition_faults(raw) if entry.path == path]
    assert len(found) == 1, definition_faults(raw)
    return found[0]
