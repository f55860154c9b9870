"""What there is to say of a well-formed constitution before people vote on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from somagent.domain.messages.constitution import ProposalFinding
from somagent.domain.policy.constitution import Constitution

BLOCKING: Final = "blocking"
WARNING: Final = "warning"
INFO: Final = "info"


def examine(proposed: Constitution, in_force: Constitution | None) -> tuple[ProposalFinding, ...]:
    """Findings on the content itself, and on what changes against the constitution in force."""
    return (*_sense(proposed), *_changes(proposed, in_force))


def _sense(proposed: Constitution) -> Iterator[ProposalFinding]:
    """Nothing passing is blocking: it stops all work, and for that there is the kill switch, which says so."""
    thresholds = {"threshold": proposed.threshold, "production_threshold": proposed.production_threshold}
    for name, theta in thresholds.items():
        if proposed.best_score < theta:
            yield ProposalFinding(
                check="sense",
                severity=BLOCKING,
                code="nothing_passes",
                detail=f"The weights sum up to {proposed.best_score:g}, below the {name} {theta:g}: no act could ever "
                "pass. To stop everything use the kill switch.",
                path=name,
            )
        elif theta <= 0:
            yield ProposalFinding(
                check="sense",
                severity=WARNING,
                code="nothing_is_refused",
                detail=f"With {name} {theta:g} only hard rules and required humans can refuse anything.",
                path=name,
            )
    if proposed.production_threshold < proposed.threshold:
        yield ProposalFinding(
            check="sense",
            severity=WARNING,
            code="production_is_laxer",
            detail="Production would be judged less strictly than the other modes.",
            path="production_threshold",
        )


def _changes(proposed: Constitution, in_force: Constitution | None) -> Iterator[ProposalFinding]:
    if in_force is None:
        return
    if proposed.version > in_force.version + 1:
        yield ProposalFinding(
            check="changes",
            severity=WARNING,
            code="version_skips",
            detail=f"Version {proposed.version} follows {in_force.version}; those between can never be used.",
            path="version",
        )
    for path, was, becomes in _differences(proposed, in_force):
        yield ProposalFinding(
            check="changes", severity=INFO, code="changes", detail=f"{path}: {was:g} → {becomes:g}", path=path
        )


def _differences(proposed: Constitution, in_force: Constitution) -> Iterator[tuple[str, float, float]]:
    for name in ("threshold", "production_threshold"):
        was, becomes = getattr(in_force, name), getattr(proposed, name)
        if was != becomes:
            yield name, was, becomes
    for name in type(proposed.weights).model_fields:
        was, becomes = getattr(in_force.weights, name), getattr(proposed.weights, name)
        if was != becomes:
            yield f"weights.{name}", was, becomes
