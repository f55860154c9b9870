"""Which request is being answered, so that whatever is audited on its behalf names it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final, NamedTuple


class Origin(NamedTuple):
    """Where an act comes from; both None outside any request."""

    request_id: str | None = None
    trace_id: str | None = None


NOWHERE: Final = Origin()
ORIGIN: Final[ContextVar[Origin]] = ContextVar("soma_origin", default=NOWHERE)
"""Set by the API's edge for each request; a request is a task of its own."""
