"""Whether references lead somewhere: the name exists and has that field.

That it has settled by then need not be asked: a step waits for whatever it refers to
(:mod:`somagent.domain.capsules.needs`), and a circle of references is a cycle like any other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from pydantic import JsonValue

from somagent.domain.actions import ACTIONS
from somagent.domain.capsules.conditions import ConditionSyntaxError, condition_references
from somagent.domain.capsules.fields import missing_field
from somagent.domain.capsules.outline import Outline, StepOutline
from somagent.domain.capsules.references import MalformedReferenceError, Reference, split
from somagent.domain.capsules.suggestions import shortened, suggestion
from somagent.domain.capsules.templates import TemplateSyntaxFault, template_references
from somagent.domain.errors import Fault

_SINGLE_VALUES = frozenset({"string", "text", "integer", "number", "boolean"})


class Links:
    """Checks the references of one definition."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline
        self._inputs = outline.input_types
        self._steps = outline.step_by_id

    def outputs(self) -> Iterator[Fault]:
        """Faults of the capsule's outputs, which may name every step."""
        for name, value in self._outline.outputs.items():
            yield from self._value(value, f"outputs.{name}", None)

    def step(self, step: StepOutline) -> Iterator[Fault]:
        """Faults of the references in a step's params and condition."""
        for name, value in (step.params or {}).items():
            path = f"{step.path}.params.{name}"
            if step.action == "text.template" and name == "template" and isinstance(value, str):
                yield from self._template(value, path, step.id)
            else:
                yield from self._value(value, path, step.id)
        if step.when is not None:
            yield from self._condition(step.when, f"{step.path}.when", step.id)

    def _value(self, value: JsonValue, path: str, at: str | None) -> Iterator[Fault]:
        if isinstance(value, str):
            if "{{" in value:
                yield from self._text(value, path, at)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                yield from self._value(item, f"{path}[{index}]", at)
        elif isinstance(value, dict):
            for name, item in value.items():
                yield from self._value(item, f"{path}.{name}", at)

    def _text(self, text: str, path: str, at: str | None) -> Iterator[Fault]:
        try:
            pieces = split(text)
        except MalformedReferenceError as error:
            yield Fault(path, "reference_malformed", str(error))
            return
        for piece in pieces:
            if isinstance(piece, Reference):
                yield from self._reference(piece, path, at)

    def _template(self, template: str, path: str, at: str | None) -> Iterator[Fault]:
        try:
            references = template_references(template)
        except TemplateSyntaxFault as error:
            yield Fault(path, "template_invalid", f"is no Jinja template: {error}")
            return
        for reference, loose in references:
            yield from self._reference(reference, path, at, fields=not loose)

    def _condition(self, when: str, path: str, at: str | None) -> Iterator[Fault]:
        try:
            references = condition_references(when)
        except ConditionSyntaxError as error:
            yield Fault(path, "condition_invalid", str(error))
            return
        for reference, tested in references:
            yield from self._reference(reference, path, at, fields=not tested)

    def _reference(self, reference: Reference, path: str, at: str | None, *, fields: bool = True) -> Iterator[Fault]:
        if reference.root == "inputs":
            yield from self._input(reference, path, fields=fields)
        else:
            yield from self._output(reference, path, at, fields=fields)

    def _input(self, reference: Reference, path: str, *, fields: bool) -> Iterator[Fault]:
        kind = self._inputs.get(reference.name)
        if kind is None:
            if self._outline.inputs_complete:
                yield Fault(path, "reference_unknown", _unknown("input", reference.name, self._inputs))
        elif fields and reference.path and kind in _SINGLE_VALUES:
            detail = f"input {reference.name!r} is a {kind} and has no field {reference.path[0]!r}"
            yield Fault(path, "reference_field_unknown", detail)

    def _output(self, reference: Reference, path: str, at: str | None, *, fields: bool) -> Iterator[Fault]:
        step = self._steps.get(reference.name)
        if step is None:
            if self._outline.steps_complete:
                yield Fault(path, "reference_unknown", _unknown("step", reference.name, self._steps))
            return
        if reference.name == at:
            yield Fault(path, "reference_to_itself", "a step cannot use its own output")
        spec = ACTIONS.get(step.action or "")
        why = missing_field(spec, reference.path) if spec is not None and fields else None
        if why is not None:
            yield Fault(path, "reference_field_unknown", f"{reference.text}: {why}")


def _unknown(kind: str, name: str, known: Collection[str]) -> str:
    return f"there is no {kind} {shortened(name)!r}{suggestion(name, known)}"
