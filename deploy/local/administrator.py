"""The first administrator's password: made by the preparation, kept in a file of its own, shown once by ``up``.

It never passes through the supervisor, whose words go into a log.
"""

from __future__ import annotations

from collections.abc import Callable

from somagent.deploy.local.files import write_private
from somagent.deploy.local.layout import Layout
from somagent.domain.names import FIRST_TENANT, FIRST_USER


def keep_password(layout: Layout, password: str) -> None:
    """Keep a password just made, to be shown when the stack is up.

    Raises:
        SomaError: ``disk_full``.
    """
    layout.run.mkdir(parents=True, exist_ok=True)
    write_private(layout.admin_password_file, password + "\n")
    write_private(layout.unseen_password_file, "")


def show_password_once(layout: Layout, say: Callable[[str], None]) -> None:
    """Say the password, if nobody has seen it yet."""
    try:
        layout.unseen_password_file.unlink()  # of two that look at once, one succeeds
        password = layout.admin_password_file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return
    say(f"First administrator: {FIRST_USER} / {password} (kept in {layout.admin_password_file})")


def renew_kept_password(layout: Layout, tenant_id: str, user_id: str, password: str) -> None:
    """Write a new password of the first administrator into its file, where that is still kept."""
    if (tenant_id, user_id) == (FIRST_TENANT, FIRST_USER) and layout.admin_password_file.exists():
        write_private(layout.admin_password_file, password + "\n")
