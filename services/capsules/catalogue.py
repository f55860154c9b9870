"""The capsules that a tenant may see, page by page: the marketplace's newest first, then those of the folder."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession

from somagent.adapters.capsules_folder import CapsulesFolder
from somagent.adapters.postgres.tables import Submission
from somagent.domain.errors import Code, SomaError
from somagent.domain.messages.review import SubmissionStatus
from somagent.domain.versions import newest
from somagent.services.capsules.releases import (
    Release,
    from_folder,
    from_submission,
    recalled_of_folder,
    releases_of,
    trusted,
    visible,
)
from somagent.services.pagination import Cursor, Page, PageRequest, fetch_page

_SHIPPED = datetime(1970, 1, 1, tzinfo=UTC)
"""Where the folder stands in a list that is ordered by time: after everything that was submitted."""


async def page_of(
    session: AsyncSession, tenant_id: str, folder: CapsulesFolder, page: PageRequest
) -> tuple[list[Release], str | None]:
    """One page of every version that the tenant may see, and the next page's cursor."""
    items: list[Release] = []
    if page.after is None or page.after.created_at > _SHIPPED:
        published: Page[Release] = await fetch_page(
            session,
            visible(tenant_id),
            page,
            Submission.created_at,
            Submission.id,
            lambda row: from_submission(row[0]),
        )
        if published.next_cursor is not None:
            return published.items, published.next_cursor
        items = published.items
    shipped = await _shipped_after(session, folder, page)
    room = page.limit - len(items)
    shown = shipped[:room]
    if len(shown) == len(shipped):
        return [*items, *shown], None
    return [*items, *shown], Cursor(_SHIPPED, _place(shown[-1]) if shown else " ").encode()


async def capsule_of(
    session: AsyncSession, tenant_id: str, folder: CapsulesFolder, capsule_id: str, version: str | None
) -> Release:
    """One version of a capsule; without ``version`` the one that would be installed, else the newest recalled.

    Raises:
        SomaError: ``capsule_not_found``.
    """
    known = await releases_of(session, tenant_id, folder, capsule_id)
    if version is None:
        relied_on = trusted(known, tenant_id)
        sound = [release for release in relied_on if release.status == SubmissionStatus.APPROVED]
        known = tuple(sound or relied_on)
        version = newest(release.version for release in known)
    named = [release for release in known if release.version == version]
    named.sort(key=lambda release: release.status != SubmissionStatus.APPROVED)
    if not named:
        raise SomaError(Code.CAPSULE_NOT_FOUND, "There is no such capsule that this tenant may see.")
    return named[0]


async def _shipped_after(session: AsyncSession, folder: CapsulesFolder, page: PageRequest) -> list[Release]:
    recalled = await recalled_of_folder(session)
    releases = sorted((from_folder(item, recalled) for item in folder.all()), key=_place)
    if page.after is None or page.after.created_at > _SHIPPED:
        return releases
    place = page.after.id
    return [release for release in releases if _place(release) > place]


def _place(release: Release) -> str:
    return f"{release.capsule_id}@{release.version}"
