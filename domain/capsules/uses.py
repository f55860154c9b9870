"""Which steps' outputs a step's params use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from somagent.domain.capsules.references import Reference, split
from somagent.domain.capsules.templates import template_references


def referenced_steps(action: str, params: Mapping[str, JsonValue]) -> frozenset[str]:
    """The ids of the steps that ``params`` refer to; the definition has been validated, so every reference reads."""
    return frozenset(
        reference.name
        for name, value in params.items()
        for reference in _references(value, is_template=action == "text.template" and name == "template")
        if reference.root == "steps"
    )


def _references(value: JsonValue, *, is_template: bool) -> Iterator[Reference]:
    if isinstance(value, str):
        if is_template:
            # What Jinja itself asks about a skipped step is for the template to decide (`{% if %}`).
            yield from (reference for reference, by_jinja in template_references(value) if not by_jinja)
        elif "{{" in value:
            yield from (piece for piece in split(value) if isinstance(piece, Reference))
    elif isinstance(value, list):
        for item in value:
            yield from _references(item, is_template=False)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _references(item, is_template=False)
