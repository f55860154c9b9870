"""What of a definition is used by another part of it, and what is not."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import JsonValue

from somagent.domain.actions import Weight, action
from somagent.domain.capsules.conditions import condition_references
from somagent.domain.capsules.definition import CapsuleDefinition, Step
from somagent.domain.capsules.references import Reference, split
from somagent.domain.capsules.templates import template_references


def references_of_step(step: Step) -> Iterator[Reference]:
    """Every reference of a valid step: in its params, in its template, in its condition."""
    for name, value in step.params.items():
        if step.action == "text.template" and name == "template" and isinstance(value, str):
            yield from (reference for reference, _ in template_references(value))
        else:
            yield from references_in(value)
    if step.when is not None:
        yield from (reference for reference, _ in condition_references(step.when))


def references_in(value: JsonValue) -> Iterator[Reference]:
    """Every reference in a value, at any depth."""
    if isinstance(value, str):
        if "{{" in value:
            yield from (piece for piece in split(value) if isinstance(piece, Reference))
    elif isinstance(value, list):
        for item in value:
            yield from references_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from references_in(item)


def unused_inputs(definition: CapsuleDefinition) -> frozenset[str]:
    """Inputs that nothing refers to; none where the inputs are used as a whole."""
    if any(_takes_all(step, "inputs") for step in definition.steps):
        return frozenset()
    used = {reference.name for reference in _references(definition) if reference.root == "inputs"}
    return frozenset(spec.name for spec in definition.inputs) - used


def unused_steps(definition: CapsuleDefinition) -> frozenset[str]:
    """Steps that change nothing, ask nobody, save nothing, and whose output nothing refers to."""
    if any(_takes_all(step, "steps") for step in definition.steps):
        return frozenset()
    used = {reference.name for reference in _references(definition) if reference.root == "steps"}
    return frozenset(
        step.id
        for step in definition.steps
        if step.id not in used and step.save_as is None and _is_without_effect(step)
    )


def unheeded_answers(definition: CapsuleDefinition) -> frozenset[str]:
    """Steps that ask people, and whose decision nothing looks at: a rejection would change nothing."""
    if any(_takes_all(step, "steps") for step in definition.steps):
        return frozenset()
    heeded = {
        reference.name
        for reference in _references(definition)
        if reference.root == "steps" and reference.path[:1] in ((), ("decision",))
    }
    return frozenset(
        step.id for step in definition.steps if action(step.action).weight is Weight.WAIT and step.id not in heeded
    )


def unused_verbs(definition: CapsuleDefinition) -> Iterator[tuple[str, str, str]]:
    """Declared and never used: the place, the adapter, the verb."""
    used = {step.action for step in definition.steps}
    for index, tool in enumerate(definition.tools):
        for position, verb in enumerate(tool.actions):
            if f"{tool.adapter}.{verb}" not in used:
                yield f"tools[{index}].actions[{position}]", tool.adapter, verb


def undeclared_verbs(definition: CapsuleDefinition) -> Iterator[tuple[str, str]]:
    """Steps whose adapter is declared without the verb they use: the place and the action."""
    declared = {f"{tool.adapter}.{verb}" for tool in definition.tools for verb in tool.actions}
    for index, step in enumerate(definition.steps):
        if step.action not in declared:
            yield f"workflow.steps[{index}].action", step.action


def _references(definition: CapsuleDefinition) -> Iterator[Reference]:
    yield from references_in(dict(definition.outputs))
    for step in definition.steps:
        yield from references_of_step(step)


def _takes_all(step: Step, root: str) -> bool:
    """Whether a condition or template names ``inputs`` or ``steps`` as a whole, which may use any of them."""
    template = step.params.get("template") if step.action == "text.template" else None
    texts = [step.when or "", template if isinstance(template, str) else ""]
    return any(
        f"{root}[" in text or f"in {root}" in text or f"{root}|" in text or f"({root})" in text for text in texts
    )


def _is_without_effect(step: Step) -> bool:
    spec = action(step.action)
    return not spec.effect and spec.weight is not Weight.WAIT
