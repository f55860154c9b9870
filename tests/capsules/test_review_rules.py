"""The rules of a review, without any server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from somagent.domain.errors import Code, SomaError
from somagent.domain.messages.review import Decision, ReviewSnapshot, SubmissionChange, SubmissionStatus, Vote
from somagent.domain.messages.review_state import ReviewState

DEADLINE = datetime(2030, 1, 15, tzinfo=UTC)


def _state(**fields: object) -> ReviewState:
    known = {"findings_ready": True, **fields}
    return ReviewState.model_validate(
        {
            "submission_id": "s",
            "tenant_id": "t",
            "capsule_id": "c",
            "version": "1.0.0",
            "submitter": "ada",
            "deadline": DEADLINE,
            **known,
        }
    )


def _vote(**fields: object) -> Vote:
    return Vote.model_validate(
        {"vote_id": "v", "revision": 1, "reviewer": "ben", "decision": Decision.APPROVE, **fields}
    )


def _snapshot(**fields: object) -> ReviewSnapshot:
    return ReviewSnapshot.model_validate(
        {
            "status": SubmissionStatus.PENDING,
            "revision": 1,
            "deadline": DEADLINE,
            "quorum": 1,
            "findings_ready": True,
            "blocking": 0,
            **fields,
        }
    )


@pytest.mark.parametrize(
    ("state", "vote", "code"),
    [
        (_state(), _vote(reviewer="ada"), Code.SELF_REVIEW_FORBIDDEN),
        (_state(status=SubmissionStatus.APPROVED), _vote(reviewer="ada"), Code.SELF_REVIEW_FORBIDDEN),
        (_state(status=SubmissionStatus.EXPIRED), _vote(), Code.SUBMISSION_DECIDED),
        (_state(approvals=("ben",)), _vote(), Code.ALREADY_VOTED),
        (_state(rejections=("ben",)), _vote(decision=Decision.REJECT), Code.ALREADY_VOTED),
        (_state(findings_ready=False), _vote(), Code.REVIEW_NOT_READY),
        (_state(revision=2), _vote(), Code.REVIEW_NOT_READY),
        (_state(blocking=2), _vote(), Code.BLOCKING_FINDINGS),
    ],
)
def test_what_is_refused(state: ReviewState, vote: Vote, code: Code) -> None:
    with pytest.raises(SomaError) as refused:
        state.check(vote)
    assert refused.value.code is code


@pytest.mark.parametrize(
    ("state", "vote"),
    [
        (_state(), _vote()),
        (_state(approvals=("carl",)), _vote()),
        (_state(blocking=2), _vote(is_override=True)),
        (_state(blocking=2), _vote(decision=Decision.REJECT)),
    ],
)
def test_what_counts(state: ReviewState, vote: Vote) -> None:
    state.check(vote)


def test_a_vote_waits_only_for_findings_that_are_there() -> None:
    assert _state(findings_ready=False).awaits_findings(_vote(ready=True))
    assert _state().awaits_findings(_vote(ready=True, revision=2))
    assert not _state(findings_ready=False).awaits_findings(_vote())
    assert not _state().awaits_findings(_vote(ready=True))
    assert not _state(revision=2, findings_ready=False).awaits_findings(_vote(ready=True))
    assert not _state(findings_ready=False, status=SubmissionStatus.WITHDRAWN).awaits_findings(_vote(ready=True))


def test_a_new_revision_forgets_votes_and_reminders() -> None:
    state = _state(approvals=("ben",), blocking=1, reminders=3, next_reminder=DEADLINE)
    later = DEADLINE + timedelta(days=3)
    state.change(SubmissionChange(status=SubmissionStatus.PENDING, revision=2, deadline=later))
    assert (state.revision, state.approvals, state.blocking, state.findings_ready) == (2, (), 0, False)
    assert (state.reminders, state.next_reminder, state.deadline) == (0, None, later)


def test_old_news_changes_nothing() -> None:
    state = _state(revision=3)
    before = state.model_copy()
    state.absorb(_snapshot(revision=2, status=SubmissionStatus.REJECTED))
    state.change(SubmissionChange(status=SubmissionStatus.WITHDRAWN, revision=2, deadline=DEADLINE))
    assert state == before


def test_a_decision_is_final() -> None:
    state = _state(status=SubmissionStatus.APPROVED)
    state.change(SubmissionChange(status=SubmissionStatus.WITHDRAWN, revision=1, deadline=DEADLINE))
    assert state.status is SubmissionStatus.APPROVED


def test_the_snapshot_is_the_truth() -> None:
    state = _state()
    state.absorb(_snapshot(status=SubmissionStatus.APPROVED, approvals=("ben", "carl"), blocking=1))
    assert (state.status, state.approvals, state.blocking, state.open) == (
        SubmissionStatus.APPROVED,
        ("ben", "carl"),
        1,
        False,
    )
