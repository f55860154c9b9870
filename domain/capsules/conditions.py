"""``when``: a CEL condition over ``inputs`` and ``steps`` that decides whether a step runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pydantic import JsonValue

from somagent.domain.capsules.cel import Mention, compiled
from somagent.domain.capsules.cel_limits import CelError
from somagent.domain.capsules.references import Reference
from somagent.domain.errors import Code, SomaError


class ConditionSyntaxError(ValueError):
    """The condition does not say anything that can be evaluated."""


def condition_references(when: str) -> tuple[tuple[Reference, bool], ...]:
    """What the condition names; the flag says that only its presence is tested (``has``).

    Raises:
        ConditionSyntaxError: braces, wrong syntax, a function or a name that does not exist.
    """
    if "{{" in when:
        raise ConditionSyntaxError("a condition has no braces; write inputs.x or steps.y.output.z as they are")
    try:
        expression = compiled(when)
    except CelError as error:
        raise ConditionSyntaxError(f"{_shown(when)} cannot be read: {error}") from None
    if expression.unknown_functions:
        raise ConditionSyntaxError(f"CEL has no function {expression.unknown_functions[0]!r}")
    found: list[tuple[Reference, bool]] = []
    for mention in expression.mentions:
        reference = _reference(mention)
        if reference is not None:
            found.append((reference, mention.tested))
    return tuple(found)


def evaluate(
    when: str,
    inputs: Mapping[str, JsonValue],
    outputs: Mapping[str, JsonValue],
    skipped: Collection[str] = frozenset(),
) -> bool:
    """Whether the step runs. A skipped step's output is null.

    Raises:
        SomaError: CONDITION_INVALID where the condition is wrong, has no value here, or is not a truth value.
    """
    try:
        expression = compiled(when)
        steps = _visible(expression.mentions, outputs, skipped)
        value = expression.value({"inputs": dict(inputs), "steps": steps})
    except CelError as error:
        raise SomaError(Code.CONDITION_INVALID, f"The condition {_shown(when)} cannot be evaluated: {error}.") from None
    if not isinstance(value, bool):
        raise SomaError(
            Code.CONDITION_INVALID,
            f"The condition {_shown(when)} yields {value!r}, not true or false; compare it with something.",
        )
    return value


def _shown(when: str) -> str:
    return repr(when if len(when) <= 200 else f"{when[:200]}…")


def _visible(
    mentions: tuple[Mention, ...], outputs: Mapping[str, JsonValue], skipped: Collection[str]
) -> dict[str, JsonValue]:
    """The ``steps`` of an expression: those it names, or all where it picks one at run time."""
    named = {mention.path[0] for mention in mentions if mention.name == "steps" and mention.path}
    picks = any(mention.name == "steps" and not mention.path for mention in mentions)
    known = {*outputs, *skipped}
    return {step: {"output": outputs.get(step)} for step in (known if picks else named & known)}


def _reference(mention: Mention) -> Reference | None:
    """The mention as a reference; None where it is of all inputs or steps at once."""
    if mention.name not in ("inputs", "steps"):
        raise ConditionSyntaxError(f"there is no {mention.name!r} in a condition, only inputs and steps")
    if not mention.path:
        return None
    name, *rest = mention.path
    if mention.name == "inputs":
        return Reference("inputs", name, tuple(rest))
    if rest and rest[0] != "output":
        raise ConditionSyntaxError(f"steps.{name} has only an output; write steps.{name}.output")
    return Reference("steps", name, tuple(rest[1:]))
