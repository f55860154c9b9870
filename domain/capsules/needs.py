"""What a step waits for: its ``needs``, and every step that its params or its condition refer to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from somagent.domain.capsules.conditions import ConditionSyntaxError, condition_references
from somagent.domain.capsules.definition import Step
from somagent.domain.capsules.references import MalformedReferenceError, Reference, split
from somagent.domain.capsules.templates import TemplateSyntaxFault, template_references


def effective_needs(steps: tuple[Step, ...]) -> dict[str, tuple[str, ...]]:
    """What each step waits for, by id. ``needs`` absent stands for the step before."""
    needs: dict[str, tuple[str, ...]] = {}
    for index, step in enumerate(steps):
        before = (steps[index - 1].id,) if index else ()
        stated = before if step.needs is None else step.needs
        needs[step.id] = tuple(dict.fromkeys((*stated, *implied_needs(step.id, step.action, step.params, step.when))))
    return needs


def implied_needs(
    step_id: str, action: str | None, params: Mapping[str, JsonValue], when: str | None
) -> tuple[str, ...]:
    """The other steps that a step refers to; what cannot be read implies nothing, and is a fault elsewhere."""
    found = [*_condition(when), *_of_params(action, params, by_jinja=True)]
    names = (reference.name for reference in found if reference.root == "steps")
    return tuple(dict.fromkeys(name for name in names if name != step_id))


def referenced_steps(action: str, params: Mapping[str, JsonValue]) -> frozenset[str]:
    """The steps whose outputs the params cannot do without.

    What Jinja itself asks about a step (``{% if steps.a.output %}``) is left to the template.
    """
    references = _of_params(action, params, by_jinja=False)
    return frozenset(reference.name for reference in references if reference.root == "steps")


def _of_params(action: str | None, params: Mapping[str, JsonValue], *, by_jinja: bool) -> Iterator[Reference]:
    for name, value in params.items():
        if action == "text.template" and name == "template" and isinstance(value, str):
            yield from _template(value, by_jinja=by_jinja)
        else:
            yield from _references(value)


def _condition(when: str | None) -> Iterator[Reference]:
    if when is None:
        return
    try:
        yield from (reference for reference, _ in condition_references(when))
    except ConditionSyntaxError:
        return


def _template(template: str, *, by_jinja: bool) -> Iterator[Reference]:
    try:
        yield from (reference for reference, jinja in template_references(template) if by_jinja or not jinja)
    except TemplateSyntaxFault:
        return


def _references(value: JsonValue) -> Iterator[Reference]:
    if isinstance(value, str) and "{{" in value:
        try:
            yield from (piece for piece in split(value) if isinstance(piece, Reference))
        except MalformedReferenceError:
            return
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _references(item)
