"""Bounds on what a condition can use up, and comparisons across kinds of numbers.

CEL has no loops, but its macros nest: five of them over a hundred items are ten thousand million turns. So each
evaluation counts its turns, and joining two values is bounded in size.
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from functools import lru_cache
from typing import Any

import celpy
from celpy import celtypes
from celpy.evaluation import Activation, Context, Evaluator, base_functions
from lark import Token, Tree

MAX_TURNS = 10_000
MAX_JOINED = 1_000_000
"""The longest text or list that ``+`` makes, in characters or items."""

_COMPARISONS = ("_<_", "_<=_", "_>_", "_>=_", "_==_", "_!=_")


class CelError(Exception):
    """The expression does not compile, or has no value; the message says why.

    No ValueError: the library takes those for its own and goes on.
    """


class MeteredRunner(celpy.InterpretedRunner):
    """Runs an expression with a count of its turns."""

    def evaluate(self, context: Context) -> Any:
        """The value of the expression with these names."""
        return _Evaluator(self.ast, self.new_activation(), _Meter()).evaluate(context)


class _Meter:
    def __init__(self) -> None:
        self._turns = 0

    def turn(self) -> None:
        self._turns += 1
        if self._turns > MAX_TURNS:
            raise CelError(f"it takes more than {MAX_TURNS:,} turns; nest fewer macros, or ask about shorter lists")


class _Evaluator(Evaluator):
    """Counts each expression that it evaluates; those inside macros count again in each turn."""

    def __init__(self, ast: Tree[Token], activation: Activation, meter: _Meter) -> None:
        super().__init__(ast, activation)
        self._meter = meter

    def sub_evaluator(self, ast: Tree[Token]) -> Evaluator:
        return _Evaluator(ast, self.activation, self._meter)

    def expr(self, tree: Tree[Token]) -> Any:
        self._meter.turn()
        return super().expr(tree)


@lru_cache(maxsize=1)
def bounded_functions() -> dict[str, Callable[..., Any]]:
    """The operators that differ from the library's.

    Comparisons take integers and fractions together, as the CEL specification has it; joining is bounded.
    """
    return {"_+_": _join, **{name: _across_numbers(base_functions[name]) for name in _COMPARISONS}}


def _join(left: Any, right: Any) -> Any:
    if isinstance(left, Sized) and isinstance(right, Sized) and len(left) + len(right) > MAX_JOINED:
        raise CelError(f"it joins more than {MAX_JOINED:,} characters or items")
    return base_functions["_+_"](left, right)


def _across_numbers(compare: Callable[..., Any]) -> Callable[..., Any]:
    def compared(left: Any, right: Any) -> Any:
        kinds = {type(left), type(right)}
        if celtypes.DoubleType in kinds and not kinds.isdisjoint({celtypes.IntType, celtypes.UintType}):
            return compare(celtypes.DoubleType(left), celtypes.DoubleType(right))
        return compare(left, right)

    return compared
