"""The table of actions in docs/Capsules.md, made from the catalogue that the product itself uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel

from somagent.api.reference_shapes import Schema, cell, fields, plain_value
from somagent.api.reference_shapes import kind as kind_of
from somagent.domain.actions import ACTIONS, ActionSpec, Delivery, Weight

BEGIN: Final = "<!-- The actions: made by `make docs`. Do not edit by hand. -->"
END: Final = "<!-- The end of the actions. -->"

_DRIVEN: Final[Mapping[Weight, str]] = {
    Weight.LIGHT: "",
    Weight.HEAVY: "an activity of its own",
    Weight.SANDBOXED: "an activity of its own, in the sandbox",
    Weight.SLM: "through the model queue",
    Weight.CHILD: "a job of its own",
    Weight.WAIT: "for weeks if need be",
}


def action_section() -> str:
    """Every action with params, output and what else is known of it, one table an adapter."""
    lines = [BEGIN, ""]
    for adapter in dict.fromkeys(spec.adapter for spec in ACTIONS.values()):
        lines += [f"### {adapter}", "", "| Action | Params | Output |", "|---|---|---|"]
        lines += [_row(spec) for spec in ACTIONS.values() if spec.adapter == adapter]
        lines.append("")
    return "\n".join([*lines, END])


def with_actions(document: str) -> str:
    """``document`` with the part between the two marks renewed.

    Raises:
        ValueError: it has no such marks.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"there is no part between {BEGIN!r} and {END!r}")
    return before + action_section() + after


def _row(spec: ActionSpec) -> str:
    about = f"`{spec.name}`<br>{'. '.join((spec.summary, *_traits(spec)))}."
    params, output = _shape(spec.params, serialised=False), _shape(spec.output, serialised=True)
    return f"| {cell(about)} | {cell(params)} | {cell(output)} |"


def _traits(spec: ActionSpec) -> Iterator[str]:
    if _DRIVEN[spec.weight]:
        yield _sentence(_DRIVEN[spec.weight])
    if spec.weight in (Weight.HEAVY, Weight.SANDBOXED, Weight.SLM):
        yield f"{spec.default_timeout_seconds:g} s unless the step says otherwise"
    if spec.outbound:
        yield "Leaves the machine: limited in rate"
    if spec.delivery is Delivery.AT_LEAST_ONCE:
        yield "At least once: repeated after a crash, tried once unless the step has `retry`"
    if spec.compensated:
        yield "Undone when the job fails or is cancelled"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _shape(model: type[BaseModel], *, serialised: bool) -> str:
    schema = model.model_json_schema(mode="serialization" if serialised else "validation")
    inline = _Inline(schema.get("$defs", {}))
    listed = [inline.field(name, required or serialised, field) for name, required, field in fields(schema)]
    note = " ".join((model.__doc__ or "").split()) if "__doc__" in vars(model) else ""
    return "<br>".join([*listed, *([note] if note else [])]) or "none"


class _Inline:
    """Writes nested objects out where they stand: a reader of a table follows no links."""

    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self._definitions = definitions

    def field(self, name: str, required: bool, field: Schema) -> str:
        default = field.get("default")
        presence = ", optional" if default is None else f" = {plain_value(default)}"
        if required:
            presence = ""
        return f"`{name}` {self._kind(field)}{presence}"

    def _kind(self, schema: Schema) -> str:
        if name := str(schema.get("$ref", "")).rpartition("/")[2]:
            return self._object(self._definitions[name])
        if "anyOf" in schema:
            members = [member for member in schema["anyOf"] if member.get("type") != "null"]
            return " or ".join(dict.fromkeys(self._kind(member) for member in members))
        if schema.get("type") == "array":
            return f"list of {self._kind(schema.get('items', {}))}"
        if schema.get("type") == "string" and "enum" not in schema:
            return "string"
        return "object" if schema.get("type") == "object" else kind_of(schema)

    def _object(self, schema: dict[str, Any] | Schema) -> str:
        if "properties" not in schema:
            return kind_of(schema)
        inner = (f"`{name}` {self._kind(field)}" for name, _, field in fields(schema))
        return "{" + ", ".join(inner) + "}"
