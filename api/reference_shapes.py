"""JSON Schemas as Markdown: what a field may hold, in words, and the table of an object's fields."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

Schema = Mapping[str, Any]

_REFERENCE: Final = re.compile(r"^#/(?:components/schemas|\$defs)/(.+)$")
_ANYTHING: Final = "JsonValue"


def name_of(key: str) -> str:
    """A schema's name for people; two modules may each have one of the same name."""
    *module, name = key.split("__")
    return f"{name} ({module[-1]})" if module else key.strip("_").replace("_", " ")


def anchor_of(heading: str) -> str:
    """The fragment under which Markdown renderers put a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def kind(schema: Schema) -> str:
    """What a value may be, in words; objects of the document by a link to their table."""
    if found := _REFERENCE.match(str(schema.get("$ref", ""))):
        return "any JSON" if found[1] == _ANYTHING else _link(found[1])
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(kind(member) for member in schema[several]))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    return _plain(schema)


def fields(schema: Schema) -> Iterator[tuple[str, bool, Schema]]:
    """The fields of an object: name, whether it must be there, and its schema."""
    required = set(schema.get("required", ()))
    for name, field in schema.get("properties", {}).items():
        yield name, name in required, field


def field_table(schema: Schema) -> list[str]:
    """The lines of the table of an object's fields."""
    lines = ["| Field | | Meaning |", "|---|---|---|"]
    for name, required, field in fields(schema):
        lines.append(f"| `{name}` | {cell(presence(required, field))} | {cell(described(field))} |")
    return lines


def presence(required: bool, field: Schema) -> str:
    """Whether a field must be given, and what stands for it when it is not."""
    if required:
        return "required"
    default = field.get("default")
    return "optional" if default is None else f"optional, {plain_value(default)}"


def plain_value(value: object) -> str:
    """A default as it would be written in JSON; plain words without their quotes."""
    written = orjson.dumps(value).decode()
    return f"`{value if isinstance(value, str) and value.isprintable() and value else written}`"


def described(field: Schema) -> str:
    """The kind of a field and its description."""
    description = str(field.get("description", "")).strip()
    return f"{kind(field)}. {description}" if description else kind(field)


def cell(text: str) -> str:
    """A text that stays inside its cell."""
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")


def _link(key: str) -> str:
    name = name_of(key)
    return f"[{name}](#{anchor_of(name)})"


def _plain(schema: Schema) -> str:
    match schema.get("type"):
        case "array":
            items = schema.get("items") or schema.get("prefixItems", [{}])[0]
            return f"list of {kind(items)}{_bounds(schema, 'minItems', 'maxItems', ' items')}"
        case "object":
            extra = schema.get("additionalProperties")
            return f"object of {kind(extra)}" if isinstance(extra, dict) and extra else "object"
        case "string":
            return _text(schema)
        case "integer" | "number" as name:
            return f"{name}{_bounds(schema, 'minimum', 'maximum', '')}"
        case "null":
            return "null"
        case None:
            return "any JSON"
        case other:
            return str(other)


def _text(schema: Schema) -> str:
    form = f" ({schema['format']})" if "format" in schema else ""
    pattern = f" matching `{schema['pattern']}`" if "pattern" in schema else ""
    return f"string{form}{pattern}{_bounds(schema, 'minLength', 'maxLength', ' characters')}"


def _bounds(schema: Schema, low: str, high: str, unit: str) -> str:
    least, most = (schema.get(key, schema.get(f"exclusive{key.title()}")) for key in (low, high))
    if least is None and most is None:
        return ""
    if most is None:
        return ", not empty" if unit and least == 1 else f", {_number(least)}{unit} or more"
    return f", up to {_number(most)}{unit}" if least is None else f", {_number(least)} to {_number(most)}{unit}"


def _number(value: float) -> str:
    return f"{value:,g}" if isinstance(value, float) and not value.is_integer() else f"{int(value):,}"
