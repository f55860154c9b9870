"""Tokens: reserved before a call, counted after it, and never more than allowed."""

from __future__ import annotations

from somagent.tests.jobs.workbench import Json, Workbench, capsule, statuses, step, step_of

TEXT = "Postgres is the record. Temporal drives. Redis wakes those who watch. Kafka carries queue and events."


def summing(**fields: object) -> Json:
    """A capsule that asks a model twice."""
    ask = {"role": "summarization", "prompt": TEXT, "max_tokens": 100}
    steps = [step("one", "slm.complete", ask), step("two", "slm.complete", {**ask, "prompt": TEXT + " Again."})]
    return capsule("summing", steps, **fields)


def test_a_job_over_its_budget_waits_until_a_person_raises_it(workbench: Workbench) -> None:
    job_id = workbench.start(summing(), budget_tokens=50)
    job = workbench.until(job_id, lambda job: job["status"] == "waiting")
    assert job["error"]["code"] == "budget_exhausted"
    assert job["usage"] == {"tokens": 0, "reserved_tokens": 0, "cost": 0}
    assert step_of(job, "one")["status"] == "waiting"
    raised = workbench.ada.post(f"/v1/jobs/{job_id}/budget", {"budget_tokens": 5000})
    assert raised["budget_tokens"] == 5000
    job = workbench.ended(job_id)
    assert job["status"] == "completed", workbench.story(job)
    assert job["error"] is None
    spent = sum(step_of(job, name)["output"]["usage"]["total_tokens"] for name in ("one", "two"))
    assert job["usage"]["tokens"] == spent > 0
    assert job["usage"]["reserved_tokens"] == 0
    assert [step_of(job, name)["attempt"] for name in ("one", "two")] == [1, 1]


def test_a_job_over_its_budget_can_be_cancelled(workbench: Workbench) -> None:
    job_id = workbench.start(summing(), budget_tokens=50)
    workbench.until(job_id, lambda job: job["status"] == "waiting")
    workbench.ada.post(f"/v1/jobs/{job_id}/cancel")
    job = workbench.ended(job_id)
    assert job["status"] == "cancelled"
    assert set(statuses(job).values()) == {"cancelled"}


def test_the_capsules_own_budget_holds(workbench: Workbench) -> None:
    job_id = workbench.start(summing(policies={"budget_tokens": 60}))
    job = workbench.until(job_id, lambda job: job["status"] == "waiting")
    assert job["budget_tokens"] == 60
    assert job["error"]["code"] == "budget_exhausted"
    workbench.ada.post(f"/v1/jobs/{job_id}/cancel")
    workbench.ended(job_id)


def test_a_budget_below_what_is_spent_is_refused(workbench: Workbench) -> None:
    steps = [
        step("sum", "slm.complete", {"role": "summarization", "prompt": TEXT, "max_tokens": 60}),
        step("ask", "human.approve", {"question": "Go on?"}),
    ]
    job_id = workbench.start(capsule("spends_then_asks", steps))
    job, _ = workbench.asked(job_id)
    assert job["usage"]["tokens"] > 1
    with workbench.http() as http:
        low = http.post(f"/v1/jobs/{job_id}/budget", json={"budget_tokens": 1})
        assert (low.status_code, low.json()["code"]) == (422, "budget_too_low")
        bad = http.post(f"/v1/jobs/{job_id}/budget", json={"budget_tokens": -1})
        assert (bad.status_code, bad.json()["code"]) == (422, "validation_failed")
    assert workbench.ada.post(f"/v1/jobs/{job_id}/budget", {"budget_tokens": 9000})["budget_tokens"] == 9000
    workbench.ada.post(f"/v1/jobs/{job_id}/cancel")
    workbench.ended(job_id)
