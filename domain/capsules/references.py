"""References: ``{{ inputs.x }}`` and ``{{ steps.y.output.z }}`` in the params and outputs of a capsule.

A string that is one reference alone keeps the type of what it names; inside a longer string a text stands as it is and
anything else as its JSON. A path goes on by names and list indexes: ``entries.0.path``, ``entries[0].path``,
``headers['content.type']``. What a reference yields is never searched for references again.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache

import orjson
from pydantic import JsonValue

from somagent.domain.errors import Code, SomaError

_SEGMENT = re.compile(r"""\.([\w$@-]+)|\[\s*(\d+)\s*\]|\[\s*'([^']*)'\s*\]|\[\s*"([^"]*)"\s*\]""")
_ROOT = re.compile(r"\s*(inputs|steps)\b")
_HOW = "write {{ inputs.NAME }} or {{ steps.STEP.output.FIELD }}"


class MalformedReferenceError(ValueError):
    """Braces that hold no reference; the message says why and how to write one."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One reference: to an input, or to a step's output (``path`` goes on inside the value)."""

    root: str
    name: str
    path: tuple[str, ...]

    @property
    def text(self) -> str:
        """As a person would write it, without the braces."""
        root = f"inputs.{self.name}" if self.root == "inputs" else f"steps.{self.name}.output"
        return ".".join((root, *self.path))


def parse_reference(inner: str) -> Reference:
    """The reference that stands between two pairs of braces.

    Raises:
        MalformedReferenceError: it is none.
    """
    root = _ROOT.match(inner)
    if root is None:
        raise MalformedReferenceError(f"{inner.strip()!r} is no reference; {_HOW}")
    segments = _segments(inner, root.end())
    if root[1] == "inputs":
        if not segments:
            raise MalformedReferenceError(f"{inner.strip()!r} names no input; write inputs.NAME")
        return Reference("inputs", segments[0], tuple(segments[1:]))
    if len(segments) < 2 or segments[1] != "output":
        raise MalformedReferenceError(f"{inner.strip()!r} must go on as steps.STEP.output, then a field of it")
    return Reference("steps", segments[0], tuple(segments[2:]))


def _segments(inner: str, position: int) -> list[str]:
    end = len(inner.rstrip())
    segments: list[str] = []
    while position < end:
        found = _SEGMENT.match(inner, position, end)
        if found is None:
            raise MalformedReferenceError(f"{inner.strip()!r} is no reference from {inner[position:end]!r} on; {_HOW}")
        segments.append(next(group for group in found.groups() if group is not None))
        position = found.end()
    return segments


@lru_cache(maxsize=16_384)
def split(text: str) -> tuple[str | Reference, ...]:
    """``text`` as literal pieces and references in turn; empty pieces are left out.

    Raises:
        MalformedReferenceError: ``{{`` that is not closed, or that holds no reference.
    """
    pieces: list[str | Reference] = []
    position = 0
    while (start := text.find("{{", position)) >= 0:
        end = text.find("}}", start + 2)
        if end < 0:
            raise MalformedReferenceError(f"{text[start : start + 40]!r} opens a reference and does not close it")
        if start > position:
            pieces.append(text[position:start])
        pieces.append(parse_reference(text[start + 2 : end]))
        position = end + 2
    if position < len(text):
        pieces.append(text[position:])
    return tuple(pieces)


def alone(text: str) -> Reference | None:
    """The reference that ``text`` consists of, surrounding blanks aside, or None; never raises."""
    stripped = text.strip()
    if not (stripped.startswith("{{") and stripped.endswith("}}")):
        return None
    try:
        pieces = split(stripped)
    except MalformedReferenceError:
        return None
    return pieces[0] if len(pieces) == 1 and isinstance(pieces[0], Reference) else None


def as_text(value: JsonValue) -> str:
    """How a value stands inside a longer string: a text as it is, anything else as compact JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


@dataclass(frozen=True, slots=True)
class Scope:
    """What references can see.

    Attributes:
        inputs: every declared input with its value.
        outputs: the output of each settled step.
        skipped: steps that did not run; a reference into one gives null, and nothing inside a longer string.
    """

    inputs: Mapping[str, JsonValue]
    outputs: Mapping[str, JsonValue]
    skipped: Collection[str] = frozenset()

    def value(self, reference: Reference) -> JsonValue:
        """What ``reference`` names.

        Raises:
            SomaError: REFERENCE_UNRESOLVED; the detail says which, where it ended, and what there was.
        """
        if reference.root == "inputs":
            if reference.name not in self.inputs:
                raise _unresolved(reference, f"there is no input {reference.name!r}", self.inputs)
            return _walk(reference, self.inputs[reference.name])
        if reference.name in self.skipped:
            return None
        if reference.name not in self.outputs:
            raise _unresolved(reference, f"step {reference.name!r} has no output", self.outputs)
        return _walk(reference, self.outputs[reference.name])

    def is_skipped(self, reference: Reference) -> bool:
        """Whether ``reference`` points into a step that was skipped."""
        return reference.root == "steps" and reference.name in self.skipped


def resolve(
    value: JsonValue,
    inputs: Mapping[str, JsonValue],
    outputs: Mapping[str, JsonValue],
    skipped: Collection[str] = frozenset(),
) -> JsonValue:
    """``value`` with every reference in it replaced, at any depth. Object keys are left as they are.

    Raises:
        SomaError: REFERENCE_UNRESOLVED for a reference that names nothing.
    """
    return _resolve(value, Scope(inputs, outputs, skipped))


def _resolve(value: JsonValue, scope: Scope) -> JsonValue:
    if isinstance(value, str):
        return _resolve_text(value, scope) if "{{" in value else value
    if isinstance(value, list):
        return [_resolve(item, scope) for item in value]
    if isinstance(value, dict):
        return {key: _resolve(item, scope) for key, item in value.items()}
    return value


def _resolve_text(text: str, scope: Scope) -> JsonValue:
    try:
        single = alone(text)
        if single is not None:
            return scope.value(single)
        pieces = split(text)
    except MalformedReferenceError as error:
        raise SomaError(Code.REFERENCE_UNRESOLVED, f"{error}.") from None
    return "".join(piece if isinstance(piece, str) else embedded(piece, scope) for piece in pieces)


def embedded(reference: Reference, scope: Scope) -> str:
    """What ``reference`` gives inside a longer string; nothing where its step was skipped."""
    return "" if scope.is_skipped(reference) else as_text(scope.value(reference))


def _walk(reference: Reference, value: JsonValue) -> JsonValue:
    for depth, segment in enumerate(reference.path):
        where = Reference(reference.root, reference.name, reference.path[:depth]).text
        if isinstance(value, dict):
            if segment not in value:
                raise _unresolved(reference, f"{where} has no field {segment!r}", value)
            value = value[segment]
        elif isinstance(value, list):
            if not (segment.isascii() and segment.isdigit()):
                raise _unresolved(reference, f"{where} is a list of {len(value)}, and {segment!r} is no index", None)
            if int(segment) >= len(value):
                raise _unresolved(reference, f"{where} is a list of {len(value)}, without index {segment}", None)
            value = value[int(segment)]
        else:
            raise _unresolved(reference, f"{where} is {_kind(value)}, which has no field {segment!r}", None)
    return value


def _kind(value: JsonValue) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    return "a text" if isinstance(value, str) else "a number"


def _unresolved(reference: Reference, why: str, had: Mapping[str, JsonValue] | None) -> SomaError:
    names = "" if had is None else f"; there is {', '.join(sorted(had)[:20]) or 'nothing'}"
    return SomaError(Code.REFERENCE_UNRESOLVED, f"{{{{ {reference.text} }}}} names nothing: {why}{names}.")
