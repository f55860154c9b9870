"""JSON Schema: is the schema itself sound, does a value meet it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from pydantic import JsonValue
from referencing import Registry
from referencing.exceptions import Unresolvable

from somagent.domain.errors import Code, Fault, SomaError
from somagent.domain.model import JsonObject

_MOST_FAULTS: Final = 20
_MOST_NODES: Final = 5_000
_LONGEST_PATTERN: Final = 256
_REPEATED_GROUP: Final = re.compile(r"\((?:\?:)?(?P<body>[^()]*)\)(?:[+*]|\{\d*,\d*\})")
_REPEATED_NEST: Final = re.compile(r"\)[^(]*\)(?:[+*]|\{\d*,\d*\})")
_REFERS_BACK: Final = re.compile(r"\\[1-9]|\(\?(?!:)")
_SEPARATED: Final = re.compile(r"\\?[-_/.,:;@ #]")


def check_schema(schema: JsonObject) -> None:
    """Refuses a schema that nothing could be checked against, or that could stall whoever checks it.

    Raises:
        SomaError: PARAMS_INVALID, saying where: not valid JSON Schema 2020-12, a reference outside the schema, more
            than 5,000 nodes, or a regular expression that Python's engine may take exponential time for (see
            :func:`is_risky`).
    """
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise _unusable(error.json_path, error.message) from error
    for count, (path, node) in enumerate(_nodes(schema, "$")):
        if count > _MOST_NODES:
            raise _unusable("$", f"it has more than {_MOST_NODES} nodes")
        _check_node(path, node)


def _check_node(path: str, node: JsonObject) -> None:
    reference = node.get("$ref", node.get("$dynamicRef"))
    if isinstance(reference, str) and not reference.startswith("#"):
        raise _unusable(path, f"`{reference}` lies outside the schema; define it under `$defs`")
    pattern_properties = node.get("patternProperties")
    patterns = [node.get("pattern"), *(pattern_properties if isinstance(pattern_properties, dict) else ())]
    for pattern in patterns:
        if isinstance(pattern, str) and (is_risky(pattern)):
            raise _unusable(path, "the pattern may take without end to match; repeat no group inside a group")


def is_risky(pattern: str) -> bool:
    """Whether a pattern may backtrack without end: cautious, so that some harmless ones are refused too.

    Refused are back-references, look-around, repeated groups that hold groups, alternatives or repetitions (unless
    the group begins with a separator, as in ``[a-z]+(-[a-z]+)*``), and more than 256 characters.
    """
    if len(pattern) > _LONGEST_PATTERN or _REFERS_BACK.search(pattern) or _REPEATED_NEST.search(pattern):
        return True
    bodies = (match["body"] for match in _REPEATED_GROUP.finditer(pattern))
    return any(re.search(r"[+*{|]", body) and not _SEPARATED.match(body) for body in bodies)


def _nodes(value: JsonValue, path: str) -> Iterator[tuple[str, JsonObject]]:
    waiting: list[tuple[str, JsonValue]] = [(path, value)]
    while waiting:
        where, node = waiting.pop()
        if isinstance(node, dict):
            yield where, node
            waiting.extend((f"{where}.{key}", inner) for key, inner in node.items())
        elif isinstance(node, list):
            waiting.extend((f"{where}[{index}]", inner) for index, inner in enumerate(node))


def _unusable(path: str, why: str) -> SomaError:
    detail = f"The JSON Schema cannot be used: at `{path}`: {why}"
    return SomaError(Code.PARAMS_INVALID, detail, errors=[Fault(f"schema{path[1:]}", "schema_invalid", why)])


def faults_of(value: JsonValue, schema: JsonObject) -> list[Fault]:
    """Where ``value`` does not meet ``schema``: nothing where it does, at most twenty faults. Nothing is fetched."""
    validator = Draft202012Validator(schema, registry=Registry())
    try:
        errors: list[ValidationError] = []
        for error in validator.iter_errors(value):
            errors.append(error)
            if len(errors) == _MOST_FAULTS:
                break
    except (Unresolvable, RecursionError) as error:
        return [Fault("$", "schema_invalid", f"the schema cannot be followed: {type(error).__name__}")]
    ordered = sorted(errors, key=lambda error: error.json_path)
    return [Fault(error.json_path, str(error.validator), error.message[:500]) for error in ordered]
