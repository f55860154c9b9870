"""``make bench``: both sides on the same servers, rounds interleaved, medians of ratios, written to docs/Benchmarks.md.

FULL=1 adds 5,000 jobs to the growth series; without it everything stays under 15 minutes.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from somagent.benchmarks import gate, measures
from somagent.benchmarks.report import Comparison, Report, write_report
from somagent.benchmarks.world import World, world

ROUNDS = 5
REPORT = Path(__file__).parent.parent / "docs" / "Benchmarks.md"


@dataclass(frozen=True, slots=True)
class Pair:
    """One round: SomaGent's figure and the bare side's."""

    soma: float
    bare: float


def compare(name: str, unit: str, aim: float, pairs: Sequence[Pair]) -> Comparison:
    """The medians of both sides, and the median of the rounds' ratios."""
    return Comparison(
        name=name,
        unit=unit,
        soma=statistics.median(pair.soma for pair in pairs),
        bare=statistics.median(pair.bare for pair in pairs),
        ratio=statistics.median(pair.soma / pair.bare for pair in pairs),
        lowest=min(pair.soma / pair.bare for pair in pairs),
        highest=max(pair.soma / pair.bare for pair in pairs),
        aim=aim,
    )


async def measure(on: World, *, full: bool) -> Report:
    """Every comparison, with a line of progress each."""
    comparisons: list[Comparison] = []
    await measures.soma_jobs(on, 20, 3)
    await measures.bare_workflows(on, 20, 3)

    accepted, completed = [], []
    for _ in range(ROUNDS):
        soma, bare = await measures.soma_jobs(on, 150, 3), await measures.bare_workflows(on, 150, 3)
        accepted.append(Pair(soma.accepted, bare.accepted))
        completed.append(Pair(soma.completed, bare.completed))
    comparisons += [
        _say(compare("three light steps: completed jobs", "jobs/s", 2.0, completed)),
        _say(compare("three light steps: accepted jobs, against starting the bare workflow", "jobs/s", 1.0, accepted)),
    ]

    forty = []
    for _ in range(3):
        soma = await measures.soma_jobs(on, 40, 40)
        bare = await measures.bare_workflows(on, 20, 40)
        forty.append(Pair(soma.completed, bare.completed))
    comparisons.append(_say(compare("40 light steps: completed jobs", "jobs/s", 8.0, forty)))

    _, bare_id = await measures.bare_inserts(on, 50)
    job_id = await measures.one_job(on)
    reads, inserts = [], []
    for _ in range(ROUNDS):
        soma_rate = await measures.soma_reads(on, job_id, 2000)
        bare_rate = await measures.bare_reads(on, bare_id, 2000)
        reads.append(Pair(soma_rate, bare_rate))
    for _ in range(ROUNDS):
        taken = await measures.soma_jobs(on, 200, 3)
        rate, _ = await measures.bare_inserts(on, 200)
        inserts.append(Pair(taken.accepted, rate))
    comparisons += [
        _say(compare("GET /v1/jobs/{id}, against a bare route that reads one row", "requests/s", 0.7, reads)),
        _say(compare("POST /v1/jobs, against a bare route that inserts one row", "requests/s", 0.7, inserts)),
    ]

    comparisons += await measure_gate(on)

    before = measures.memory(on)
    growth = []
    for count in (100, 1000, *((5000,) if full else ())):
        soma = await measures.soma_jobs(on, count, 3)
        read = await measures.soma_reads(on, job_id, 1000)
        growth.append((count, soma.accepted, soma.completed, read))
        print(f"{count} jobs: {soma.completed:.1f} completed/s, {read:.0f} reads/s", flush=True)
    return Report(tuple(comparisons), tuple(growth), before, measures.memory(on))


async def measure_gate(on: World) -> list[Comparison]:
    """Verdicts against one Redis GET, and what the gate takes of a job's submission."""
    cached, uncached, jobs = [], [], []
    for _ in range(ROUNDS):
        bare = await gate.bare_gets(on, 2000)
        cached.append(Pair(await gate.verdicts(on, 2000, cached=True), bare))
        uncached.append(Pair(await gate.verdicts(on, 500, cached=False), bare))
    for _ in range(ROUNDS):
        cost = await gate.job_cost(on, 60)
        jobs.append(Pair(1 / cost.request, 1 / (cost.request - cost.gate)))
    return [
        _say(compare("POST /v1/evaluate, cached, against a bare route that does one Redis GET", "/s", 0.5, cached)),
        _say(
            compare("POST /v1/evaluate, not cached: judged, recorded, audited; against the same", "/s", 0.1, uncached)
        ),
        _say(compare("POST /v1/jobs one by one, against itself less what the gate takes of it", "/s", 0.8, jobs)),
    ]


def _say(comparison: Comparison) -> Comparison:
    print(comparison.line(), flush=True)
    return comparison


def main() -> int:
    """Measure and write the table; 0 when it was measured, whatever the figures."""
    started = time.monotonic()
    with world() as on:
        report = asyncio.run(measure(on, full=os.environ.get("FULL") == "1"))
    write_report(REPORT, report, seconds=time.monotonic() - started)
    print(f"written: {REPORT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
