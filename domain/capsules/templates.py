"""References inside ``text.template``'s own template, which is Jinja.

``{{ inputs.x }}`` and ``{{ steps.y.output.z }}`` are references there as anywhere; every other ``{{ }}`` and ``{% %}``
is Jinja's, and may use ``values``, and ``inputs`` and ``steps`` as objects. A reference is handed to Jinja as a
variable and never spliced into the template's source: what a person typed is text there, not code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from jinja2 import Environment, TemplateError, nodes
from pydantic import JsonValue

from somagent.domain.capsules.references import MalformedReferenceError, Reference, Scope, embedded, parse_reference

_VARIABLE = "soma_reference_"


class TemplateSyntaxFault(ValueError):
    """The template is not Jinja; the message says where."""


@dataclass(frozen=True, slots=True)
class BoundTemplate:
    """A template whose references have become variables: ``variables[i]`` is ``soma_reference_i``."""

    source: str
    variables: tuple[Reference, ...]


@lru_cache(maxsize=2048)
def bound(template: str) -> BoundTemplate:
    """``template`` with each reference that stands alone between braces replaced by a variable's name."""
    variables: dict[Reference, int] = {}
    pieces: list[str] = []
    position = 0
    while (start := template.find("{{", position)) >= 0 and (end := template.find("}}", start + 2)) >= 0:
        inner = template[start + 2 : end]
        bare = inner.removeprefix("-").removesuffix("-")
        pieces.append(template[position : start + 2])
        try:
            number = variables.setdefault(parse_reference(bare), len(variables))
        except MalformedReferenceError:
            pieces.append(inner)
        else:
            pieces.append(inner.replace(bare, f" {_VARIABLE}{number} ", 1))
        position = end
    return BoundTemplate("".join((*pieces, template[position:])), tuple(variables))


def template_references(template: str) -> tuple[tuple[Reference, bool], ...]:
    """Every reference of the template, Jinja's own uses of ``inputs`` and ``steps`` among them.

    The flag says that the reference is Jinja's, whose path may go on by filters and attributes that are not fields.

    Raises:
        TemplateSyntaxFault: it is not Jinja.
    """
    plain = bound(template)
    try:
        parsed = Environment(autoescape=False).parse(plain.source)  # noqa: S701  parsed only, never rendered
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        raise TemplateSyntaxFault(f"line {line}: {error.message}" if line else str(error.message)) from None
    except RecursionError:
        raise TemplateSyntaxFault("it is nested too deeply") from None
    return (*((reference, False) for reference in plain.variables), *((used, True) for used in _jinja_uses(parsed)))


def bind_template(template: str, values: dict[str, JsonValue], scope: Scope) -> tuple[str, dict[str, JsonValue]]:
    """The template's source and the values to fill it with; ``values`` themselves win over ``inputs`` and ``steps``.

    Raises:
        SomaError: REFERENCE_UNRESOLVED for a reference that names nothing.
    """
    plain = bound(template)
    variables: dict[str, JsonValue] = {
        f"{_VARIABLE}{number}": embedded(reference, scope) for number, reference in enumerate(plain.variables)
    }
    return plain.source, {**_objects(plain.source, scope), **values, **variables}


def _objects(source: str, scope: Scope) -> dict[str, JsonValue]:
    """``inputs`` and ``steps`` as objects, where Jinja's part of the template names them."""
    objects: dict[str, JsonValue] = {}
    if "inputs" in source:
        objects["inputs"] = dict(scope.inputs)
    if "steps" in source:
        known = {**dict.fromkeys(scope.skipped, None), **scope.outputs}
        objects["steps"] = {step: {"output": output} for step, output in known.items() if step in source}
    return objects


_Access = nodes.Getattr | nodes.Getitem


def _jinja_uses(parsed: nodes.Template) -> Iterator[Reference]:
    accesses: list[_Access] = [*parsed.find_all(nodes.Getattr), *parsed.find_all(nodes.Getitem)]
    inner = {id(access.node) for access in accesses}
    for access in accesses:
        links = _links(access) if id(access) not in inner else None
        match links:
            case ["inputs", name, *path]:
                yield Reference("inputs", name, tuple(path))
            case ["steps", name, *path]:
                yield Reference("steps", name, tuple(path[1:]))


def _links(access: _Access) -> list[str] | None:
    """``steps.a['output']`` as its names; what follows the first part that is not constant is dropped."""
    links: list[str] = []
    node: nodes.Node = access
    while isinstance(node, nodes.Getattr | nodes.Getitem):
        if isinstance(node, nodes.Getattr):
            links.append(node.attr)
        elif isinstance(node.arg, nodes.Const):
            links.append(str(node.arg.value))
        else:
            links.clear()
        node = node.node
    return [node.name, *reversed(links)] if isinstance(node, nodes.Name) else None
