"""Fills a JSON Schema from what a text says, where that is honest; nothing is made up."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from pydantic import JsonValue

from somagent.domain.errors import Code, Fault, SomaError
from somagent.domain.model import JsonObject
from somagent.domain.slm.answer import related
from somagent.domain.slm.facts import Facts, Key, json_values, key_of, read_facts
from somagent.domain.slm.keywords import keywords
from somagent.domain.slm.material import Material
from somagent.domain.slm.schemas import check_schema, faults_of
from somagent.domain.slm.sentences import sentences
from somagent.domain.slm.summary import summarise
from somagent.domain.slm.words import words

_NUMBER: Final = re.compile(r"[-+]?\d{1,3}(?:[,\u202f ]\d{3})+(?:\.\d+)?|[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_TRUE: Final = frozenset(("true", "yes", "ja", "on", "done", "enabled"))
_FALSE: Final = frozenset(("false", "no", "nein", "off", "disabled"))
_SUMMARY_NAMES: Final = frozenset(("summary", "abstract", "digest", "overview", "synopsis", "tldr", "zusammenfassung"))
_ANSWER_NAMES: Final = frozenset(("answer", "response", "reply", "completion", "antwort"))
_TITLE_NAMES: Final = frozenset(("title", "heading", "headline", "titel"))
_KEYWORD_NAMES: Final = frozenset(("keyword", "tag", "topic", "label", "term"))
_QUOTE_NAMES: Final = frozenset(
    ("quote", "sentence", "highlight", "point", "evidence", "citation", "finding", "excerpt")
)
_DEEPEST: Final = 12


class _Missing(Exception):
    """The text does not say it."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(why)
        self.fault = Fault(path, "not_in_text", why)


def fill(schema: JsonObject, material: Material, max_tokens: int) -> JsonValue:
    """A value of ``schema`` whose every word stands in the material.

    JSON in the text that meets the schema is taken as it is. Else each property is read off: a ``key: value`` line, a
    table's column or a list under a heading of that name; an enum's only member that the text names; summary, answer,
    title, keywords and quotes by what they mean. What is optional and not said is left out.

    Raises:
        SomaError: PARAMS_INVALID for a schema that cannot be used; SLM_INVALID_OUTPUT (not retryable), with a fault
            for each place, where the text does not say what the schema requires.
    """
    check_schema(schema)
    for value in json_values(material.body):
        if not faults_of(value, schema):
            return value
    try:
        value = _Filler(schema, material, max_tokens).value(schema, "$", frozenset(), "", 0)
    except _Missing as missing:
        raise _invalid([missing.fault]) from missing
    faults = faults_of(value, schema)
    if faults:
        raise _invalid(faults)
    return value


def _invalid(faults: Sequence[Fault]) -> SomaError:
    where = "; ".join(f"{fault.path}: {fault.detail}" for fault in faults[:3])
    detail = (
        f"The built-in extractive model only reads values off the given text, and cannot meet the schema: {where}. "
        "Put the missing values into the text, make them optional, or set SLM_BASE_URL to a model server."
    )
    return SomaError(Code.SLM_INVALID_OUTPUT, detail, errors=faults, retryable=False)


class _Filler:
    """One schema against one text."""

    def __init__(self, root: JsonObject, material: Material, max_tokens: int) -> None:
        self._root = root
        self._material = material
        self._max_tokens = max_tokens
        self._facts: Facts = read_facts(material.body)

    def value(self, schema: JsonValue, path: str, key: Key, said: str, depth: int) -> JsonValue:
        """The value at ``path``; ``said`` is the text that stands for it already, where a line or a cell gave it."""
        if depth > _DEEPEST or not isinstance(schema, dict):
            raise _Missing(path, "the schema says nothing to look for")
        if "$ref" in schema:
            return self.value(self._resolved(schema, path), path, key, said, depth + 1)
        for union in ("anyOf", "oneOf"):
            if isinstance(options := schema.get(union), list):
                return self._first_of(options, path, key, said, depth)
        if "const" in schema:
            return schema["const"]
        if isinstance(options := schema.get("enum"), list):
            return self._member(options, path, key, said)
        return self._typed(schema, path, key, said, depth)

    def _typed(self, schema: JsonObject, path: str, key: Key, said: str, depth: int) -> JsonValue:
        kinds = schema.get("type", "object" if "properties" in schema else "string")
        for kind in kinds if isinstance(kinds, list) else [kinds]:
            try:
                if kind == "object":
                    return self._object(schema, path, depth)
                if kind == "array":
                    return self._array(schema, path, key, said, depth)
                return self._scalar(str(kind), schema, path, key, said)
            except _Missing as missing:
                last = missing
        if isinstance(kinds, list) and "null" in kinds:
            return None
        raise last

    def _resolved(self, schema: JsonObject, path: str) -> JsonValue:
        node: JsonValue = self._root
        for part in str(schema["$ref"]).removeprefix("#").split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(node, dict) or name not in node:
                raise _Missing(path, f"the schema's {schema['$ref']} leads nowhere")
            node = node[name]
        return node

    def _first_of(self, options: Sequence[JsonValue], path: str, key: Key, said: str, depth: int) -> JsonValue:
        last: _Missing | None = None
        for option in options:
            if isinstance(option, dict) and option.get("type") == "null":
                continue
            try:
                return self.value(option, path, key, said, depth + 1)
            except _Missing as missing:
                last = missing
        if any(isinstance(option, dict) and option.get("type") == "null" for option in options):
            return None
        raise last or _Missing(path, "the schema offers nothing to look for")

    def _object(self, schema: JsonObject, path: str, depth: int, row: dict[str, str] | None = None) -> JsonObject:
        properties = schema.get("properties")
        required = schema.get("required")
        names = required if isinstance(required, list) else []
        made: JsonObject = {}
        for name, inner in properties.items() if isinstance(properties, dict) else ():
            try:
                said = "" if row is None else self._cell(row, name, f"{path}.{name}")
                made[name] = self.value(inner, f"{path}.{name}", key_of(name), said, depth + 1)
            except _Missing:
                if isinstance(inner, dict) and "default" in inner:
                    made[name] = inner["default"]
                elif name in names:
                    raise
        return made

    def _cell(self, row: dict[str, str], name: str, path: str) -> str:
        for column, cell in row.items():
            if key_of(column) == key_of(name) and cell:
                return cell
        raise _Missing(path, f"the table has no `{name}`")

    def _array(self, schema: JsonObject, path: str, key: Key, said: str, depth: int) -> JsonValue:
        inner = schema.get("items", {"type": "string"})
        resolved = self._resolved(inner, path) if isinstance(inner, dict) and "$ref" in inner else inner
        most = schema.get("maxItems")
        limit = most if isinstance(most, int) else 10
        if isinstance(resolved, dict) and ("properties" in resolved or resolved.get("type") == "object"):
            found = self._rows(resolved)[:limit]
            if not found:
                raise _Missing(path, "the text has no table with these columns")
            return [self._object(resolved, f"{path}[{n}]", depth + 1, row) for n, row in enumerate(found)]
        texts = self._texts(path, key, said, limit)[:limit]
        return [self.value(resolved, f"{path}[{n}]", frozenset(), text, depth + 1) for n, text in enumerate(texts)]

    def _rows(self, schema: JsonObject) -> Sequence[dict[str, str]]:
        required, properties = schema.get("required"), schema.get("properties")
        names = required if isinstance(required, list) else properties if isinstance(properties, dict) else ()
        wanted = {key_of(str(name)) for name in names}
        for rows in self._facts.tables:
            if rows and wanted <= {key_of(column) for column in rows[0]}:
                return rows
        return ()

    def _texts(self, path: str, key: Key, said: str, limit: int) -> list[str]:
        given = said or self._pair(key)
        if given:
            return [part.strip() for part in re.split(r"[;,]\s+|\s+\|\s+", given) if part.strip()]
        for lead, items in self._facts.lists:
            if key and (key <= lead or lead == key):
                return list(items)
        if key & _KEYWORD_NAMES:
            return keywords(self._material.body, min(limit, 10))
        if key & (_QUOTE_NAMES | _SUMMARY_NAMES):
            chosen = summarise(self._material.body, self._max_tokens)
            return [sentence.text for sentence in chosen.sentences]
        if len(self._facts.lists) == 1:
            return list(self._facts.lists[0][1])
        raise _Missing(path, f"the text has no list called `{path.rpartition('.')[2]}`")

    def _pair(self, key: Key) -> str | None:
        if not key:
            return None
        exact = (value for name, value in self._facts.pairs if name == key)
        close = (value for name, value in self._facts.pairs if key < name and len(name) <= len(key) + 2)
        return next(exact, None) or next(close, None)

    def _member(self, options: Sequence[JsonValue], path: str, key: Key, said: str) -> JsonValue:
        given = said or self._pair(key) or ""
        for text in (given, self._material.body):
            folded = f" {' '.join(words(text))} "
            named = [option for option in options if f" {' '.join(words(str(option)))} " in folded]
            if text and len(named) == 1:
                return named[0]
        raise _Missing(path, f"the text does not name exactly one of {', '.join(map(str, options))[:200]}")

    def _scalar(self, kind: str, schema: JsonObject, path: str, key: Key, said: str) -> JsonValue:
        given = said or self._pair(key)
        readers: dict[str, Callable[[str], JsonValue]] = {
            "string": str, "integer": _integer, "number": _number, "boolean": _boolean
        }  # fmt: skip
        if given is not None and kind in readers and (read := readers[kind](given)) is not None:
            return read
        if kind == "string" and (meant := self._meant(key)):
            return meant
        raise _Missing(path, f"the text has no {kind} called `{path.rpartition('.')[2]}`")

    def _meant(self, key: Key) -> str:
        body = self._material.body
        if key & _SUMMARY_NAMES:
            return summarise(body, self._max_tokens).text
        if key & _ANSWER_NAMES:
            return related(body, self._material.question, self._max_tokens).text
        if key & _TITLE_NAMES:
            return self._facts.title or next((sentence.text for sentence in sentences(body)), "")
        if key & _QUOTE_NAMES:
            return related(body, self._material.question, self._max_tokens, most=1).text
        return ""


def _number(text: str) -> float | int | None:
    match = _NUMBER.search(text)
    if match is None:
        return None
    plain = re.sub(r"[,\u202f ]", "", match.group())
    return int(plain) if re.fullmatch(r"[-+]?\d+", plain) else float(plain)


def _integer(text: str) -> int | None:
    number = _number(text)
    return int(number) if number is not None and number == int(number) else None


def _boolean(text: str) -> bool | None:
    first = next(iter(words(text)), "")
    return True if first in _TRUE else False if first in _FALSE else None
