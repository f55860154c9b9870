"""Jinja for text: in an immutable sandbox, with every loop turn, call and character counted.

Jinja's own sandbox keeps a template from Python's internals, but not from using up time and memory. So the parsed
template is rewritten before it is compiled: loops, concatenations and pieces of text go through counting filters.
Methods and filters that make large values from small ones are left out or guarded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, ClassVar, cast

from jinja2 import StrictUndefined, Template, TemplateError, nodes, pass_context
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import JsonValue

from somagent.adapters.tools.metering import meter, start_meter
from somagent.adapters.tools.template_guards import BEFORE_BINOP, guarded
from somagent.domain.errors import Code, SomaError

MAX_TEXT_CHARACTERS = 5 * 1024 * 1024
MAX_TEMPLATE_CHARACTERS = 1024 * 1024

# Each takes time that grows faster than its text, or reaches beyond values.
_LEFT_OUT = ("attr", "forceescape", "pprint", "random", "striptags", "urlize", "wordwrap", "xmlattr")
_UNBOUNDED_METHODS = frozenset(
    {
        "center",
        "encode",
        "expandtabs",
        "format",
        "format_map",
        "join",
        "ljust",
        "replace",
        "rjust",
        "translate",
        "zfill",
    }
)


def render(template: str, values: Mapping[str, JsonValue]) -> str:
    """The text of ``template`` filled with ``values``.

    Raises:
        SomaError: TEMPLATE_INVALID, with the line where known; OUTPUT_TOO_LARGE over 5 Mi characters.
    """
    if len(template) > MAX_TEMPLATE_CHARACTERS:
        raise SomaError(Code.TEMPLATE_INVALID, f"The template has more than {MAX_TEMPLATE_CHARACTERS:,} characters.")
    try:
        start_meter()
        return _gather(_compiled(template).generate(dict(values)))
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        where = f"line {line}: " if line else ""
        raise SomaError(
            Code.TEMPLATE_INVALID, f"The template cannot be filled: {where}{_plain(error.message)}."
        ) from None
    except RecursionError:
        raise SomaError(Code.TEMPLATE_INVALID, "The template is nested or calls itself too deeply.") from None
    except (ArithmeticError, LookupError, MemoryError, TypeError, ValueError) as error:
        raise SomaError(Code.TEMPLATE_INVALID, f"The template cannot be filled: {_plain(str(error))}.") from None


def _plain(message: str | None) -> str:
    return (message or "it is not valid").removesuffix(".")


def _gather(pieces: Iterator[str]) -> str:
    text: list[str] = []
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > MAX_TEXT_CHARACTERS:
            raise SomaError(Code.OUTPUT_TOO_LARGE, f"The text is longer than {MAX_TEXT_CHARACTERS:,} characters.")
        text.append(piece)
    return "".join(text)


class _MeteredEnvironment(ImmutableSandboxedEnvironment):
    intercepted_binops: ClassVar[frozenset[str]] = frozenset({"+", "*", "**", "%"})  # type: ignore[misc]

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        parsed = super()._parse(source, name, filename)
        _meter_nodes(parsed)
        return parsed

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, str) and attr in _UNBOUNDED_METHODS:
            return False
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        return None  # so that str.format is refused as an unsafe attribute, like the others above

    def call(self, *args: Any, **kwargs: Any) -> Any:
        meter().step()
        return super().call(*args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        BEFORE_BINOP[operator](left, right)
        return super().call_binop(context, operator, left, right)


def _meter_nodes(parsed: nodes.Template) -> None:
    for loop in parsed.find_all(nodes.For):
        loop.iter = _through(loop.iter, "_metered_loop")
    for output in parsed.find_all(nodes.Output):
        output.nodes = [_as_constant(node) for node in output.nodes]
    for concat in list(parsed.find_all(nodes.Concat)):
        parts = nodes.List(concat.nodes, lineno=concat.lineno)
        concat.nodes = [_through(parts, "_metered_concat")]


def _through(node: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(
        cast(nodes.Expr, node), name, [], [], None, None, lineno=node.lineno, environment=node.environment
    )


def _as_constant(node: nodes.Expr) -> nodes.Expr:
    """Plain text as an expression, so that it is counted each time it is put out."""
    if isinstance(node, nodes.TemplateData):
        return nodes.Const(node.data, lineno=node.lineno, environment=node.environment)
    return node


@pass_context  # a context keeps Jinja from finalizing constants when it compiles
def _count_output(_context: Context, value: object) -> object:
    text = value if isinstance(value, str) else str(value)
    meter().make(len(text))
    return text


def _metered_loop(items: Iterable[object]) -> Iterator[object]:
    counter = meter()
    for item in items:
        counter.step()
        yield item


def _metered_concat(parts: list[object]) -> str:
    texts = [str(part) for part in parts]
    meter().make(sum(map(len, texts)))
    return "".join(texts)


def _environment() -> _MeteredEnvironment:
    environment = _MeteredEnvironment(
        undefined=StrictUndefined,
        autoescape=False,  # the output is plain text, never HTML
        keep_trailing_newline=True,
        optimized=False,  # constants are folded when compiling, where nothing is counted
        finalize=_count_output,
        cache_size=0,
    )
    for name in _LEFT_OUT:
        del environment.filters[name]
    del environment.globals["lipsum"]
    environment.filters = {name: guarded(name, function) for name, function in environment.filters.items()}
    environment.filters |= {"_metered_loop": _metered_loop, "_metered_concat": _metered_concat}
    return environment


_ENVIRONMENT = _environment()


@lru_cache(maxsize=256)
def _compiled(template: str) -> Template:
    return _ENVIRONMENT.from_string(template)
