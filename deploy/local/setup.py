"""Gets every server that is not there yet: ``python -m somagent.deploy.local.setup [--quiet] [--for-tests]``."""

from __future__ import annotations

import argparse
import os
import sys

from somagent.deploy.local.cache import cache_lock
from somagent.deploy.local.fetch import (
    Report,
    build_temporal,
    download_temporal,
    fetch_test_server,
    install_bubblewrap,
    to_terminal,
)
from somagent.deploy.local.parts import (
    Found,
    look_for_bubblewrap,
    look_for_temporal,
    require_postgres,
    require_redis,
    test_server_path,
)
from somagent.domain.errors import Code, SomaError


def main() -> int:
    """Sets up what is missing; 0 when all that is required is there."""
    parser = argparse.ArgumentParser(description="Gets the servers that SomaGent runs on.")
    parser.add_argument("--quiet", action="store_true", help="say only what is being done")
    parser.add_argument("--for-tests", action="store_true", help="also what only the tests need")
    given = parser.parse_args()
    try:
        set_up(to_terminal, say_found=not given.quiet)
        if given.for_tests:
            with cache_lock():
                fetch_test_server(to_terminal)
            if not given.quiet:
                to_terminal(f"time-skipping test server: {test_server_path()}")
    except SomaError as error:
        to_terminal(error.detail)
        return 1
    return 0


def set_up(report: Report, *, say_found: bool) -> None:
    """Finds each part, and gets it where it is not found.

    Raises:
        SomaError: ``part_missing`` with what to install.
    """
    temporal = None if os.environ.get("TEMPORAL_ADDRESS") else _temporal(report)
    redis = None if os.environ.get("REDIS_URL") else require_redis()
    postgres = None if os.environ.get("POSTGRES_URL") else require_postgres()
    if say_found:
        for name, found in (("Temporal", temporal), ("Redis", redis), ("Postgres", postgres)):
            report(f"{name}: {_words(found)}")
    _sandbox(report, say_found=say_found)


def _words(found: Found | None) -> str:
    return "an address in the environment" if found is None else f"{found.version}, {found.how} ({found.path})"


def _temporal(report: Report) -> Found:
    if found := look_for_temporal():
        return found
    with cache_lock():  # another set-up may have been building it
        if found := look_for_temporal():
            return found
        for fetch in (download_temporal, build_temporal):
            if fetch(report) and (found := look_for_temporal()):
                return found
    raise SomaError(
        Code.PART_MISSING,
        "Temporal is missing. Install its CLI (https://docs.temporal.io/cli) so that it is on PATH, "
        "or Go 1.24 or newer and run `make setup` again, or set TEMPORAL_ADDRESS to a running server.",
    )


def _sandbox(report: Report, *, say_found: bool) -> None:
    """bubblewrap is wanted, not required: without it shell steps are confined by Landlock where the kernel has it."""
    found = look_for_bubblewrap()
    if found is None and install_bubblewrap(report):
        found = look_for_bubblewrap()
    if found is not None and say_found:
        report(f"bubblewrap: {_words(found)}")
    if found is None and say_found:
        report("bubblewrap: not usable here; `somagent doctor` says what that means")


if __name__ == "__main__":
    sys.exit(main())
