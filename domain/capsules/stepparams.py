"""The params of a step at the moment it runs: every reference replaced."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pydantic import JsonValue

from somagent.domain.capsules.references import Scope, resolve
from somagent.domain.capsules.templates import bind_template
from somagent.domain.model import JsonObject


def resolve_params(
    action: str,
    params: Mapping[str, JsonValue],
    inputs: Mapping[str, JsonValue],
    outputs: Mapping[str, JsonValue],
    skipped: Collection[str] = frozenset(),
) -> JsonObject:
    """``params`` as the action takes them; what ``text.template`` is given becomes variables of its template.

    Raises:
        SomaError: REFERENCE_UNRESOLVED for a reference that names nothing.
    """
    template = params.get("template")
    if action != "text.template" or not isinstance(template, str):
        return {name: resolve(value, inputs, outputs, skipped) for name, value in params.items()}
    values = resolve(params.get("values", {}), inputs, outputs, skipped)
    source, bound = bind_template(template, values if isinstance(values, dict) else {}, Scope(inputs, outputs, skipped))
    return {**params, "template": source, "values": bound}
