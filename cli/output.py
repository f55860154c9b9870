"""How the commands speak: tables for people, JSON for programs, errors on standard error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from pydantic import BaseModel

OutputFormat = Literal["table", "json"]

_PIPE_WIDTH = 200
"""Columns where no terminal says its own: addresses must not be cut in a log."""


def console(*, stderr: bool = False) -> Console:
    """A console for people; addresses stay whole and nothing in a text is taken for markup."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(
        stderr=stderr, width=None if stream.isatty() else _PIPE_WIDTH, markup=False, highlight=False, soft_wrap=True
    )


def say(text: str) -> None:
    """One line of progress or of a result."""
    print(text, flush=True)


def complain(text: str) -> None:
    """What went wrong, on standard error."""
    print(text, file=sys.stderr, flush=True)


def show_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """A table for people."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console().print(table)


def show_json(document: BaseModel) -> None:
    """A document for programs."""
    print(document.model_dump_json(indent=2))
