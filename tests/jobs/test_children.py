"""Capsules that run capsules: each child is a job of its own, and its end is the step's."""

from __future__ import annotations

from somagent.tests.jobs.receiver import Receiver, free_port
from somagent.tests.jobs.workbench import Json, Workbench, capsule, statuses, step, step_of, until

URL = {"name": "url", "type": "string", "required": True}
WORD = {"name": "word", "type": "string", "required": True}
WHO = {"name": "who", "type": "string", "required": True}
VERSION = {"name": "version", "type": "string", "default": "*"}


def shouting() -> Json:
    """A child: says a word three times."""
    steps = [step("join", "text.join", {"parts": ["{{ inputs.word }}"] * 3, "with": "-"})]
    outputs = {"said": "{{ steps.join.output.text }}", "words": ["{{ inputs.word }}"]}
    return capsule("shouting", steps, inputs=[WORD], outputs=outputs)


def sending() -> Json:
    """A child that asks the receiver."""
    get = {"method": "POST", "url": "{{ inputs.url }}"}
    return capsule("sending", [step("send", "http.request", get, retry={"max_attempts": 1})], inputs=[URL])


def parent_of(name: str, child: Json, inputs: list[Json], **params: object) -> Json:
    """A composite with one child between two steps of its own."""
    run = {"capsule_id": child["id"], "inputs": {one["name"]: f"{{{{ inputs.{one['name']} }}}}" for one in inputs}}
    steps = [
        step("before", "text.join", {"parts": ["x"]}),
        step("child", "capsule.run", {**run, **params}),
        step("after", "text.join", {"parts": ["{{ steps.child.output }}"]}),
    ]
    return capsule(name, steps, inputs=inputs, outputs={"all": "{{ steps.child.output }}"}, type="composite")


def children(workbench: Workbench, job_id: str) -> list[Json]:
    """The jobs that this one opened."""
    return list(workbench.ada.get("/v1/jobs", parent_job_id=job_id)["items"])


def test_a_childs_outputs_are_the_steps(workbench: Workbench) -> None:
    child = shouting()
    workbench.publish(child)
    job = workbench.run(parent_of("composite", child, [WORD], version="^1.0"), {"word": "ho"}, priority=2)
    assert job["result"]["outputs"] == {"all": {"said": "ho-ho-ho", "words": ["ho"]}}
    (opened,) = children(workbench, job["id"])
    assert opened["status"] == "completed"
    assert opened["priority"] == 2
    assert opened["submitted_by"] == "ada"
    assert opened["workflow_id"] == f"job-{opened['id']}"


def test_children_beside_each_other_and_one_field_of_them(workbench: Workbench) -> None:
    child = shouting()
    workbench.publish(child)
    runs = [
        step(f"run{n}", "capsule.run", {"capsule_id": child["id"], "inputs": {"word": str(n)}}, needs=[])
        for n in range(3)
    ]
    said = [f"{{{{ steps.run{n}.output.said }}}}" for n in range(3)]
    end = step("end", "text.join", {"parts": said, "with": "|"}, needs=["run0", "run1", "run2"])
    job = workbench.run(capsule("three_children", [*runs, end], outputs={"all": "{{ steps.end.output.text }}"}))
    assert job["result"]["outputs"]["all"] == "0-0-0|1-1-1|2-2-2"


def test_a_version_that_is_not_installed(workbench: Workbench) -> None:
    child = shouting()
    workbench.publish(child)
    definition = parent_of("other_version", child, [WORD], version=">=2.0.0")
    job = workbench.run(definition, {"word": "ho"}, status="failed")
    assert (job["error"]["code"], job["error"]["step_id"]) == ("capsule_not_installed", "child")
    assert children(workbench, job["id"]) == []


def test_inputs_that_do_not_fit_the_child(workbench: Workbench) -> None:
    child = shouting()
    workbench.publish(child)
    definition = capsule(
        "bad_child", [step("child", "capsule.run", {"capsule_id": child["id"], "inputs": {"word": 7}})]
    )
    job = workbench.run(definition, status="failed")
    assert job["error"]["code"] == "input_invalid"


def test_a_childs_failure_is_its_parents_and_retry_goes_on_inside(workbench: Workbench) -> None:
    child = sending()
    workbench.publish(child)
    port = free_port()
    definition = parent_of("failing_child", child, [URL])
    job = workbench.run(definition, {"url": f"http://127.0.0.1:{port}/late"}, status="failed")
    assert (job["error"]["code"], job["error"]["step_id"]) == ("http_failed", "child")
    assert statuses(job) == {"before": "completed", "child": "failed", "after": "pending"}
    (opened,) = children(workbench, job["id"])
    assert (opened["status"], opened["error"]["code"]) == ("failed", "http_failed")
    refused = workbench.http().post(f"/v1/jobs/{opened['id']}/retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "job_not_retryable")
    with Receiver(port) as late:
        workbench.ada.post(f"/v1/jobs/{job['id']}/retry")
        again = workbench.ended(job["id"])
        assert again["status"] == "completed", workbench.story(again)
        assert late.count("/late") == 1
    assert len(children(workbench, job["id"])) == 1
    assert step_of(workbench.ada.job(opened["id"]), "send")["attempt"] == 2


def test_cancel_reaches_the_children(workbench: Workbench, receiver: Receiver) -> None:
    child = sending()
    workbench.publish(child)
    job_id = workbench.start(parent_of("cancelled_child", child, [URL]), {"url": receiver.url("/held")})
    until(lambda: receiver.count("/held"), "the child's step")
    workbench.ada.post(f"/v1/jobs/{job_id}/cancel")
    job = workbench.ended(job_id)
    assert job["status"] == "cancelled"
    assert statuses(job) == {"before": "completed", "child": "cancelled", "after": "cancelled"}
    (opened,) = children(workbench, job_id)
    assert workbench.ended(opened["id"])["status"] == "cancelled"


def test_people_are_asked_inside_a_child(workbench: Workbench) -> None:
    child = capsule("asking_child", [step("ask", "human.approve", {"question": "Inside?"})])
    workbench.publish(child)
    job_id = workbench.start(parent_of("asking_parent", child, []))
    workbench.until(job_id, lambda _: children(workbench, job_id))
    (opened,) = children(workbench, job_id)
    _, approval = workbench.asked(opened["id"])
    workbench.vote(workbench.ben, opened["id"], approval)
    assert workbench.ended(job_id)["status"] == "completed"


def test_recursion_ends(workbench: Workbench) -> None:
    again = {"capsule_id": "{{ inputs.who }}", "inputs": {"who": "{{ inputs.who }}"}}
    definition = capsule("endless", [step("again", "capsule.run", again)], inputs=[WHO])
    job = workbench.run(definition, {"who": workbench.publish(definition)}, status="failed")
    assert (job["error"]["code"], job["error"]["step_id"]) == ("child_too_deep", "again"), workbench.story(job)
    depth, found = 0, children(workbench, job["id"])
    while found:
        depth, found = depth + 1, children(workbench, found[0]["id"])
    assert depth == 8
