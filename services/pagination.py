"""Lists, newest first, page by page: a cursor says after which row to go on, so pages never shift."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar
from uuid import UUID

from pydantic import Field
from sqlalchemy import Row, Select, literal, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from somagent.domain.errors import Code, SomaError
from somagent.domain.model import Model

DEFAULT_LIMIT = 50
LARGEST_LIMIT = 200

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Page(Model, Generic[T]):
    """One page of a list."""

    items: list[T]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null: this is the last one")


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page is wanted. ``after`` is the last row of the page before."""

    limit: int = DEFAULT_LIMIT
    after: Cursor | None = None


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a list that is ordered by (created_at, id), newest first."""

    created_at: datetime
    id: str

    def encode(self) -> str:
        """URL-safe, opaque."""
        micros = (self.created_at - _EPOCH) // _MICROSECOND
        raw = micros.to_bytes(8, "big", signed=True) + self.id.encode()
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")

    @classmethod
    def decode(cls, text: str) -> Cursor:
        """Read a cursor that we gave.

        Raises:
            SomaError: ``invalid_cursor``.
        """
        try:
            raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
            micros = int.from_bytes(raw[:8], "big", signed=True)
            cursor = cls(_EPOCH + micros * _MICROSECOND, raw[8:].decode())
        except (binascii.Error, ValueError, OverflowError) as error:
            raise invalid_cursor() from error
        if not cursor.id or "\0" in cursor.id or cursor.encode() != text:
            raise invalid_cursor()
        return cursor

    def uuid(self) -> UUID:
        """The id of a list of objects.

        Raises:
            SomaError: ``invalid_cursor``.
        """
        try:
            return UUID(self.id)
        except ValueError as error:
            raise invalid_cursor() from error


def invalid_cursor() -> SomaError:
    """The refusal of a cursor that we did not give."""
    return SomaError(Code.INVALID_CURSOR, "The cursor is not one of this list. Begin again without it.")


async def fetch_page(
    session: AsyncSession,
    statement: Select[Any],
    page: PageRequest,
    created_at: InstrumentedAttribute[datetime],
    id_column: InstrumentedAttribute[UUID] | InstrumentedAttribute[str],
    view: Callable[[Row[Any]], T],
) -> Page[T]:
    """Run ``statement`` for one page, newest first.

    Args:
        statement: a select that yields at least ``created_at`` and ``id_column``, or their entity; no order, no limit.
        view: one row as an item. ``row[0]`` is the entity of ``select(Entity)``.
    """
    if page.after is not None:
        place = page.after.uuid() if id_column.type.python_type is UUID else page.after.id
        statement = statement.where(
            tuple_(created_at, id_column)
            < tuple_(literal(page.after.created_at, created_at.type), literal(place, id_column.type))
        )
    columns = (created_at.label("soma_created_at"), id_column.label("soma_id"))
    ordered = statement.add_columns(*columns).order_by(created_at.desc(), id_column.desc()).limit(page.limit + 1)
    rows = (await session.execute(ordered)).all()
    shown = rows[: page.limit]
    return Page[T](items=[view(row) for row in shown], next_cursor=_next(rows, shown))


def _next(rows: Sequence[Row[Any]], shown: Sequence[Row[Any]]) -> str | None:
    if len(rows) == len(shown):
        return None
    last = shown[-1]
    return Cursor(last.soma_created_at, str(last.soma_id)).encode()
