"""What the supervisor and the preloader tell each other, a line of JSON a message."""

from __future__ import annotations

from pydantic import Field

from somagent.domain.model import Model


class ForkRequest(Model):
    """Start a process: arguments of ``somagent``, or none for the preparation; its whole environment; its log."""

    arguments: list[str] = Field(default_factory=list)
    environment: dict[str, str]
    log: str
    title: str


class EndRequest(Model):
    """Ask how a process ended."""

    pid: int


class Request(Model):
    """One line to the preloader."""

    fork: ForkRequest | None = None
    end: EndRequest | None = None


class Reply(Model):
    """One line back: the new process, or the exit code of one that has ended (negative: the signal)."""

    pid: int = 0
    code: int | None = None
