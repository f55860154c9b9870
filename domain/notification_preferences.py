"""Which notifications somebody wants to be sent, and when."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field

from somagent.domain.model import Model

Severity = Literal["info", "warning", "error", "critical"]
SEVERITIES: Final = ("info", "warning", "error", "critical")

_CLOCK: Final = r"^([01]\d|2[0-3]):[0-5]\d$"


def _known(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("there is no such time zone; write an IANA name, as Europe/Berlin or UTC")
    return name


class QuietHours(Model):
    """A time of day in which nothing is sent. One that ends before it starts goes over midnight."""

    start: Annotated[str, Field(pattern=_CLOCK, description="HH:MM")]
    end: Annotated[str, Field(pattern=_CLOCK, description="HH:MM; equal to `start`: the whole day")]
    timezone: Annotated[str, AfterValidator(_known), Field(max_length=64, description="IANA name")] = "UTC"

    def end_after(self, moment: datetime) -> datetime | None:
        """When the quiet hours that ``moment`` lies in are over, in UTC; None outside them."""
        zone = ZoneInfo(self.timezone)
        local = moment.astimezone(zone)
        start, end = time.fromisoformat(self.start), time.fromisoformat(self.end)
        for day in (local.date() - timedelta(days=1), local.date()):
            begins = datetime.combine(day, start, zone)
            ends = datetime.combine(day if end > start else day + timedelta(days=1), end, zone)
            if begins.astimezone(UTC) <= moment < ends.astimezone(UTC):
                return ends.astimezone(UTC)
        return None


class NotificationPreferences(Model):
    """What somebody wants. Everything is recorded and listed all the same; this is about what is sent.

    Attributes:
        severity_threshold: nothing below it is sent.
        channels: where to; every channel when null.
        quiet_hours: what comes in them is sent when they are over; what is critical, at once.
    """

    severity_threshold: Severity = "info"
    channels: Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], Field(max_length=50)] | None = None
    quiet_hours: QuietHours | None = None

    def wants(self, severity: str, channel: str) -> bool:
        """Whether it is sent at all."""
        loud_enough = SEVERITIES.index(severity) >= SEVERITIES.index(self.severity_threshold)
        return loud_enough and (self.channels is None or channel in self.channels)

    def quiet_until(self, moment: datetime, severity: str) -> datetime | None:
        """When it may be sent, where that is not now."""
        if self.quiet_hours is None or severity == "critical":
            return None
        return self.quiet_hours.end_after(moment)
