"""Values of a JSON Schema out of a model's text: read, check, and word what to repair."""

from __future__ import annotations

import json
import re
from typing import Final

from pydantic import JsonValue

from somagent.domain.errors import Fault
from somagent.domain.model import JsonObject
from somagent.domain.slm.schemas import faults_of

_FENCE: Final = re.compile(r"\A```[a-zA-Z]*\s*\n(?P<body>.*?)\n?```\s*\Z", re.DOTALL)


def read_value(text: str, schema: JsonObject) -> tuple[JsonValue, list[Fault]]:
    """The value that ``text`` is, and its faults; a code fence around it is no fault."""
    stripped = text.strip()
    fenced = _FENCE.match(stripped)
    try:
        value: JsonValue = json.loads(fenced["body"] if fenced else stripped, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        return None, [Fault("$", "not_json", f"the answer is no JSON: {error}"[:300])]
    return value, faults_of(value, schema)


def schema_instruction(schema: JsonObject) -> str:
    """What tells a model without ``response_format`` what to answer."""
    return "Answer with one JSON value alone, without any other text, that meets this JSON Schema:\n" + json.dumps(
        schema
    )


def repair_instruction(faults: list[Fault], schema: JsonObject) -> str:
    """What asks a model once more, with the faults of its first answer."""
    listed = "\n".join(f"- {fault.path}: {fault.detail}" for fault in faults)
    return f"Your answer does not meet the JSON Schema:\n{listed}\n\n{schema_instruction(schema)}"


def _no_constant(name: str) -> JsonValue:
    raise ValueError(f"{name} is no JSON number")
