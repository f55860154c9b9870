"""Moments as users see them: UTC, RFC 3339, always six decimals and ``Z``, so that they sort as text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AwareDatetime, PlainSerializer


def rfc3339(moment: datetime) -> str:
    """``2026-01-31T09:05:00.000000Z``; ``moment`` must know its zone."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"


Timestamp = Annotated[AwareDatetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]
"""A moment in a model of the API."""
