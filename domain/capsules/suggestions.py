"""The end of a sentence about a name that does not exist: what may have been meant, or what there is."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_SHOWN = 40
_COMPARED = 60
_LONGEST = 80


def suggestion(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` or ``; there is a, b, c``. Of many names only the first are looked at and shown."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names[:_COMPARED], n=1) if len(name) <= _LONGEST else []
    if close:
        return f"; did you mean {close[0]!r}?"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"; there is {', '.join(names[:_SHOWN]) or 'none'}{more}"


def shortened(name: str) -> str:
    """A name as it can be shown."""
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…"
