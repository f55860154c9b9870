"""The table in docs/Benchmarks.md, with the machine it was measured on."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Comparison:
    """Medians of both sides and of the rounds' ratios; ``aim`` is the ratio wanted."""

    name: str
    unit: str
    soma: float
    bare: float
    ratio: float
    lowest: float
    highest: float
    aim: float

    def line(self) -> str:
        """For the terminal."""
        verdict = "reached" if self.ratio >= self.aim else "missed"
        return (
            f"{self.name}: {self.soma:.1f} against {self.bare:.1f} {self.unit}, ratio {self.ratio:.2f} "
            f"({self.lowest:.2f}–{self.highest:.2f}), aim {self.aim:g}: {verdict}"
        )


@dataclass(frozen=True, slots=True)
class Report:
    """``growth``: (jobs in the round, accepted/s, completed/s, reads/s); memory in MiB by process."""

    comparisons: tuple[Comparison, ...]
    growth: tuple[tuple[int, float, float, float], ...]
    memory_before: Mapping[str, float]
    memory_after: Mapping[str, float]


def write_report(path: Path, report: Report, *, seconds: float) -> None:
    """Write the page anew."""
    lines = [
        "# Benchmarks",
        "",
        "`make bench` measures SomaGent beside the bare parts it is made of: a workflow by the Temporal SDK alone with",
        "as many activities as the job has steps, and FastAPI routes that read or insert one row by asyncpg, or get",
        "one key from Redis. Both use the same servers, settings and number of processes, rounds alternate, and every",
        "job is read back and verified. A ratio is the median of the rounds' ratios; in brackets the lowest and the",
        "highest.",
        "",
        f"Measured on {datetime.now(UTC):%Y-%m-%d} in {seconds / 60:.0f} minutes on {_machine()}.",
        "",
        "| what | SomaGent | bare | ratio | aim |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {one.name} ({one.unit}) | {one.soma:.1f} | {one.bare:.1f} | **{one.ratio:.2f}** "
            f"({one.lowest:.2f}–{one.highest:.2f}) | {one.aim:g} |"
            for one in report.comparisons
        ),
        "",
        "SomaGent's jobs write a row, the progress and an event for every step and are taken over authenticated REST;",
        "the bare workflow does neither. A verdict that is not cached is judged, recorded and audited in Postgres.",
        "What the gate takes of a job is the sum of its parts timed alone: kill switch, verdict and the audit's row.",
        "",
        "## As jobs accumulate",
        "",
        "Each line is a round of its own after those before it, on the same database.",
        "",
        "| jobs in the round | accepted/s | completed/s | reads/s |",
        "|---:|---:|---:|---:|",
        *(
            f"| {count:,} | {accepted:.0f} | {done:.1f} | {reads:.0f} |"
            for count, accepted, done, reads in report.growth
        ),
        "",
        "## Memory",
        "",
        "Resident MiB a process, before and after the rounds above.",
        "",
        "| process | before | after |",
        "|---|---:|---:|",
        *(
            f"| {name} | {weight:.0f} | {report.memory_after.get(name, 0):.0f} |"
            for name, weight in report.memory_before.items()
        ),
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")


def _machine() -> str:
    gib = psutil.virtual_memory().total / 2**30
    return (
        f"{psutil.cpu_count()} cores, {gib:.0f} GiB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}"
    )
