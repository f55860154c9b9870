"""The API's reference as Markdown, made from the OpenAPI document: ``python -m somagent.api.reference > docs/API.md``.

``--write`` renews docs/API.md and the table of actions in docs/Capsules.md instead (``make docs``).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from somagent.adapters.settings import Settings
from somagent.api.app import create_app
from somagent.api.problems import status_of
from somagent.api.reference_actions import with_actions
from somagent.api.reference_problems import EVERYWHERE, codes_of
from somagent.api.reference_shapes import Schema, anchor_of, cell, described, field_table, kind, name_of
from somagent.api.services import SERVICES
from somagent.domain.errors import CATEGORY_OF, Category, Code, SomaError

DOCS: Final = Path(__file__).parent.parent / "docs"
_METHODS: Final = ("get", "post", "put", "patch", "delete")
_ANYTHING: Final = ("JsonValue", "Problem", "FaultView")
_HEAD: Final = """# API

<!-- Made by `make docs` from the OpenAPI document. Do not edit by hand. -->

One process serves every service below on port 8080; `somagent serve NAME` runs one of them alone on the port in its
heading. The same document for programs is `/openapi.json`; `/docs` shows it with a button to try each operation.
"""
_CONVENTIONS: Final = """## Every request

| Matter | Rule |
|---|---|
| Who | `Authorization: Bearer TOKEN`, of `POST /v1/tokens/issue` or `somagent tokens issue`. \
Each operation names the capability that it needs. |
| Tenant | The token's. `X-Tenant-ID` must equal it unless the token holds `tenant:any`. \
Another tenant's object answers 404. |
| Media | JSON in and out, up to 1 MiB; attachments up to 50 MiB. Unknown fields are faults. |
| Times | UTC, RFC 3339 with six decimals and `Z`; they sort as text. |
| Lists | `{"items": [...], "next_cursor": "..." or null}`, newest first. \
Give `next_cursor` as `cursor` for the next page. |
| Repeats | `Idempotency-Key` on creating requests, kept 24 h: the same key and body give the first answer \
again, with `Idempotent-Replayed: true`. |
| Tracing | `X-Request-ID` and `traceparent` come back with every answer; the id is made when absent. |
| Limits | 429 and 503 carry `Retry-After` in seconds. |

Errors are `application/problem+json` (RFC 9457):

```json
{"type": "urn:somagent:problem:not_found", "title": "Not found", "status": 404, "detail": "There is no such job.",
 "instance": "/v1/jobs/…", "code": "not_found", "request_id": "…"}
```

`code` is stable, `detail` is for people. 422 has `errors`, a list of `{path, code, detail}` with all faults at once.
"""


def api_reference() -> str:
    """The whole of docs/API.md."""
    document = create_app(Settings.model_construct()).openapi()
    ports = {service.name: service.port for service in SERVICES}
    lines = [_HEAD, *_contents(document), "", _CONVENTIONS]
    for service, operations in _by_service(document).items():
        lines += [f"## {_title(service, ports)}", ""]
        for name, operation in operations:
            lines += [*_operation(name, operation), ""]
    lines += ["## Shapes", "", *_shapes(document["components"]["schemas"]), *_problems()]
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    """Print the reference, or with ``--write`` renew what is made of it in docs/."""
    if "--write" not in sys.argv[1:]:
        sys.stdout.write(api_reference())
        return 0
    (DOCS / "API.md").write_text(api_reference(), encoding="utf-8")
    guide = DOCS / "Capsules.md"
    guide.write_text(with_actions(guide.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


def _by_service(document: Mapping[str, Any]) -> dict[str, list[tuple[str, Mapping[str, Any]]]]:
    found: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for path, methods in document["paths"].items():
        for method in _METHODS:
            if method in methods:
                operation = methods[method]
                found.setdefault(operation["tags"][0], []).append((f"{method.upper()} {path}", operation))
    return found


def _title(service: str, ports: Mapping[str, int]) -> str:
    return f"{service} (port {ports[service]})" if service in ports else service


def _contents(document: Mapping[str, Any]) -> Iterator[str]:
    ports = {service.name: service.port for service in SERVICES}
    for service, operations in _by_service(document).items():
        title = _title(service, ports)
        yield f"- [{title}](#{anchor_of(title)}): {len(operations)} operations"


def _operation(name: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"### `{name}`"
    yield ""
    capability = operation.get("x-capability")
    yield str(operation.get("description", operation.get("summary", ""))).partition("\n\nNeeds the capability")[0]
    yield ""
    if capability:
        yield f"- Needs: `{capability}`"
    else:
        yield "- Needs a token." if operation.get("security") else "- Needs no token."
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        form = "" if media == "application/json" else f" ({media})"
        yield f"- Body{form}: {_body(content['schema'])}"
    for status, answer in operation["responses"].items():
        if status.isdigit():
            yield f"- {status}: {_answer(answer)}"
    codes = ", ".join(f"{status_of(SomaError(code, ''))} `{code}`" for code in codes_of(name, operation))
    if codes:
        yield f"- Problems: {codes}"
    yield from _parameters(operation.get("parameters", ()))


def _body(schema: Schema) -> str:
    if "properties" not in schema:
        return kind(schema)
    return ", ".join(f"`{name}` {kind(field)}" for name, field in schema["properties"].items())


def _answer(answer: Mapping[str, Any]) -> str:
    contents = answer.get("content", {})
    if not contents:
        return "no body"
    named = {media: content.get("schema") or {} for media, content in contents.items()}
    if len(named) > 1 and not named.get("application/json", True):
        del named["application/json"]  # FastAPI's own entry, which says nothing
    return " or ".join(dict.fromkeys(_content(media, schema) for media, schema in named.items()))


def _content(media: str, schema: Schema) -> str:
    return kind(schema) if media == "application/json" else f"`{media}`"


def _parameters(parameters: list[Mapping[str, Any]]) -> Iterator[str]:
    if not parameters:
        return
    yield from ("", "| Parameter | In | Meaning |", "|---|---|---|")
    for parameter in parameters:
        schema = {**parameter["schema"], "description": parameter.get("description", "")}
        default = schema.get("default")
        meaning = described(schema) + (f"; `{default}` when absent" if default is not None else "")
        required = ", required" if parameter["required"] and parameter["in"] != "path" else ""
        yield f"| `{parameter['name']}` | {parameter['in']}{required} | {cell(meaning)} |"


def _shapes(schemas: Mapping[str, Schema]) -> Iterator[str]:
    for key in sorted(schemas, key=name_of):
        if key in _ANYTHING:
            continue
        schema = schemas[key]
        yield f"### {name_of(key)}"
        yield ""
        if description := str(schema.get("description", "")).partition("\n\nAttributes:")[0].strip():
            yield description.replace("``", "`")
            yield ""
        yield from field_table(schema) if "properties" in schema else [kind(schema)]
        yield ""


def _problems() -> Iterator[str]:
    yield "## Problem codes"
    yield ""
    everywhere = ", ".join(f"`{code}`" for code in EVERYWHERE)
    yield f"Operations that need a token can answer these besides their own: {everywhere}."
    yield ""
    yield "A failed job and a failed step carry the same codes in `error.code`."
    yield ""
    yield "| Status | Category | Codes |"
    yield "|---|---|---|"
    grouped: dict[tuple[int, Category], list[Code]] = {}
    for code in Code:
        grouped.setdefault((status_of(SomaError(code, "")), CATEGORY_OF[code]), []).append(code)
    for (status, category), codes in sorted(grouped.items()):
        yield f"| {status} | {category} | {', '.join(f'`{code}`' for code in codes)} |"


if __name__ == "__main__":
    sys.exit(main())
