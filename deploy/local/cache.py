"""The folder where built and downloaded servers are kept, shared by all clones of the project."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_dir() -> Path:
    """``$SOMAGENT_CACHE``, else ``$XDG_CACHE_HOME/somagent``, else ``~/.cache/somagent``."""
    if own := os.environ.get("SOMAGENT_CACHE"):
        return Path(own).expanduser().absolute()
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared).expanduser().absolute() / "somagent"
    return Path.home() / ".cache" / "somagent"


@contextmanager
def cache_lock() -> Iterator[None]:
    """Held while something is put into the cache, so that two set-ups do not build the same twice."""
    cache_dir().mkdir(parents=True, exist_ok=True)
    with (cache_dir() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
