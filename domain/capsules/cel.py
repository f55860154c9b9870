"""CEL, the language of ``when``: what an expression names, and its value.

Only :mod:`somagent.domain.capsules.conditions` uses this module; it keeps the CEL library in one place, so that
workflow code, which plans but never evaluates, does not load it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import celpy
from celpy import celtypes
from celpy.celparser import CELParseError
from celpy.evaluation import CELEvalError, base_functions, celstr
from lark import Token, Tree
from pydantic import JsonValue

from somagent.domain.capsules.cel_limits import CelError, MeteredRunner, bounded_functions

MAX_CHARACTERS = 4000
MAX_ESCAPES = 10

_MACROS = frozenset({"all", "exists", "exists_one", "filter", "map"})
_TYPES = frozenset({"bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"})
_FUNCTIONS = frozenset(name for name in base_functions if name.isidentifier()) | _MACROS | {"dyn", "has"}


@dataclass(frozen=True, slots=True)
class Mention:
    """A name that an expression uses, with the constant path that follows it; ``tested`` stands inside ``has()``."""

    name: str
    path: tuple[str, ...]
    tested: bool = False


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression."""

    mentions: tuple[Mention, ...]
    unknown_functions: tuple[str, ...]
    program: celpy.Runner

    def value(self, names: Mapping[str, JsonValue]) -> JsonValue:
        """What it yields with these names; a value that is not JSON comes back as its text.

        Raises:
            CelError: it has no value with them.
        """
        try:
            result = self.program.evaluate({name: _to_cel(value) for name, value in names.items()})
        except CELEvalError as error:
            raise CelError(_reason(error)) from None
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise CelError(str(error)) from None
        except RecursionError:
            raise CelError("it is nested too deeply") from None
        if isinstance(result, celtypes.BoolType):
            return bool(result)
        return None if result is None else str(result)


def _to_cel(value: JsonValue) -> Any:
    """CEL's form of a JSON value; an integer beyond 64 bits becomes a fraction, as JSON readers have it."""
    if isinstance(value, bool):
        return celtypes.BoolType(value)
    if isinstance(value, int):
        return celtypes.IntType(value) if -(2**63) <= value < 2**63 else celtypes.DoubleType(value)
    if isinstance(value, float):
        return celtypes.DoubleType(value)
    if isinstance(value, str):
        return celtypes.StringType(value)
    if isinstance(value, list):
        return celtypes.ListType([_to_cel(item) for item in value])
    if isinstance(value, dict):
        return celtypes.MapType({celtypes.StringType(name): _to_cel(item) for name, item in value.items()})
    return None


@lru_cache(maxsize=4096)
def compiled(text: str) -> Expression:
    """The expression of ``text``.

    Raises:
        CelError: its syntax is wrong.
    """
    _check_size(text)
    environment = _environment()
    try:
        tree = environment.compile(text)
        walk = _Walk()
        walk.visit(tree, frozenset())
        program = environment.program(tree, functions=bounded_functions())
    except CELParseError as error:
        where = f" at line {error.line}, column {error.column}" if error.line else ""
        raise CelError(f"it is not CEL{where}") from None
    except RecursionError:
        raise CelError("it is nested too deeply") from None
    return Expression(tuple(walk.mentions), tuple(dict.fromkeys(walk.unknown_functions)), program)


def _check_size(text: str) -> None:
    """The library's pattern for a string takes twice as long for each escape when the string is not closed."""
    if len(text) > MAX_CHARACTERS:
        raise CelError(f"it has more than {MAX_CHARACTERS:,} characters")
    if text.count("\\") + text.count("\r") > MAX_ESCAPES:
        raise CelError(f"it has more than {MAX_ESCAPES} backslashes and carriage returns")


@lru_cache(maxsize=1)
def _environment() -> celpy.Environment:
    return celpy.Environment(runner_class=MeteredRunner)


class _Walk:
    """Collects what a syntax tree names; variables that a macro binds are its own."""

    def __init__(self) -> None:
        self.mentions: list[Mention] = []
        self.unknown_functions: list[str] = []

    def visit(self, node: Tree[Token] | Token, bound: frozenset[str], tested: bool = False) -> None:
        if isinstance(node, Token):
            return
        chain = _chain(node)
        if chain is not None:
            name, path, indexes = chain
            if name not in bound and not (name in _TYPES and not path):
                self.mentions.append(Mention(name, path, tested))
            for index in indexes:
                self.visit(index, bound)
            return
        if node.data in ("ident_arg", "dot_ident_arg"):
            function = str(node.children[0])
            self._function(function)
            tested = function == "has"
        elif node.data == "member_dot_arg":
            self._method(node, bound)
            return
        for child in node.children:
            self.visit(child, bound, tested)

    def _method(self, node: Tree[Token], bound: frozenset[str]) -> None:
        receiver, name, *rest = node.children
        self._function(str(name))
        self.visit(receiver, bound)
        arguments = [argument for part in rest if isinstance(part, Tree) for argument in part.children]
        if str(name) in _MACROS and arguments and (variable := _chain(_innermost(arguments[0]))) is not None:
            bound |= {variable[0]}
            arguments = arguments[1:]
        for argument in arguments:
            self.visit(argument, bound)

    def _function(self, name: str) -> None:
        if name not in _FUNCTIONS:
            self.unknown_functions.append(name)


def _chain(node: Tree[Token] | Token) -> tuple[str, tuple[str, ...], list[Tree[Token]]] | None:
    """``a.b['c']`` as its name, its constant path, and index expressions that are not constant (they end the path)."""
    links: list[str | Tree[Token]] = []
    while isinstance(node, Tree):
        if node.data in ("ident", "dot_ident"):
            return _joined(str(node.children[0]), links[::-1])
        if node.data == "member_dot":
            links.append(str(node.children[1]))
        elif node.data == "member_index":
            index = node.children[1]
            constant = _constant(index)
            links.append(index if constant is None and isinstance(index, Tree) else constant or "")
        elif node.data not in ("member", "primary") or len(node.children) != 1:
            return None
        node = node.children[0]
    return None


def _joined(name: str, links: list[str | Tree[Token]]) -> tuple[str, tuple[str, ...], list[Tree[Token]]]:
    path: list[str] = []
    for link in links:
        if isinstance(link, Tree):
            break
        path.append(link)
    return name, tuple(path), [link for link in links if isinstance(link, Tree)]


def _innermost(node: Tree[Token] | Token) -> Tree[Token] | Token:
    while isinstance(node, Tree) and len(node.children) == 1 and node.data not in ("ident", "dot_ident", "literal"):
        node = node.children[0]
    return node


def _constant(node: Tree[Token] | Token) -> str | None:
    inner = _innermost(node)
    if not (isinstance(inner, Tree) and inner.data == "literal" and isinstance(inner.children[0], Token)):
        return None
    token = inner.children[0]
    if token.type in ("STRING_LIT", "MLSTRING_LIT"):
        return str(celstr(token))
    return str(token) if token.type == "INT_LIT" and token.isdigit() else None


def _reason(error: CELEvalError) -> str:
    """The library's own words, without the trees and types it puts after them."""
    first = error.args[0] if error.args else "no reason given"
    return str(first).split(" (in activation")[0].split(" applied to ")[0][:300]
