"""Every kind of action, run by a job and shown by the API."""

from __future__ import annotations

import hashlib

import pytest

from somagent.tests.harness import Stack
from somagent.tests.jobs.receiver import Receiver
from somagent.tests.jobs.workbench import Workbench, capsule, statuses, step, step_of

ANY_TEXT = {"name": "text", "type": "text", "required": True}


def test_files_and_text_in_one_segment(workbench: Workbench) -> None:
    steps = [
        step("greet", "text.template", {"template": "Hello {{ name }}!", "values": {"name": "{{ inputs.text }}"}}),
        step("words", "text.split", {"text": "{{ steps.greet.output.text }}", "by": " "}),
        step("lines", "text.join", {"parts": "{{ steps.words.output.parts }}", "with": "\n"}),
        step("write", "files.write", {"path": "notes/greeting.txt", "content": "{{ steps.lines.output.text }}"}),
        step("list", "files.list", {"path": "notes"}),
        step("read", "files.read", {"path": "{{ steps.list.output.entries.0.path }}"}),
    ]
    outputs = {"content": "{{ steps.read.output.content }}", "sha256": "{{ steps.write.output.sha256 }}"}
    job = workbench.run(capsule("files_and_text", steps, inputs=[ANY_TEXT], outputs=outputs), {"text": "Ada; rm -rf /"})
    content = "Hello\nAda;\nrm\n-rf\n/!"
    assert job["result"]["outputs"] == {"content": content, "sha256": hashlib.sha256(content.encode()).hexdigest()}
    assert set(statuses(job).values()) == {"completed"}
    assert [one["id"] for one in job["steps"]] == ["greet", "words", "lines", "write", "list", "read"]
    assert all(one["attempt"] == 1 and one["started_at"] <= one["finished_at"] for one in job["steps"])
    assert job["progress"] == {"completed": 6, "total": 6, "current": None}
    assert job["created_at"] <= job["started_at"] <= job["finished_at"]


def test_http_request(workbench: Workbench, receiver: Receiver) -> None:
    post = {"method": "POST", "url": "{{ inputs.url }}", "body": {"n": [1, 2]}}
    steps = [step("post", "http.request", post), step("get", "http.request", {"url": "{{ inputs.url }}"})]
    definition = capsule("http", steps, inputs=[{"name": "url", "type": "string", "required": True}])
    job = workbench.run(definition, {"url": receiver.url("/orders")})
    answer = step_of(job, "post")["output"]
    assert answer["status"] == 200
    assert answer["body"] == {"method": "POST", "path": "/orders", "key": f"{job['id']}:post", "body": '{"n": [1, 2]}'}
    assert step_of(job, "get")["output"]["body"]["key"] is None


def test_an_answer_of_5xx_is_an_output(workbench: Workbench, receiver: Receiver) -> None:
    steps = [step("get", "http.request", {"url": "{{ inputs.url }}"})]
    definition = capsule("http_503", steps, inputs=[{"name": "url", "type": "string", "required": True}])
    job = workbench.run(definition, {"url": receiver.url("/503")})
    assert step_of(job, "get")["output"]["status"] == 503
    assert receiver.count("/503") == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.2:9/", "http://[::1]:9/", "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/", "http://192.168.1.1/", "file:///etc/passwd", "ftp://example.com/", "http://0177.0.0.2/",
    ],
)  # fmt: skip
def test_what_the_operator_did_not_allow_is_refused(workbench: Workbench, url: str) -> None:
    steps = [step("get", "http.request", {"url": "{{ inputs.url }}"})]
    definition = capsule("http_refused", steps, inputs=[{"name": "url", "type": "string", "required": True}])
    job = workbench.run(definition, {"url": url}, status="failed")
    assert job["error"]["code"] == "egress_refused", workbench.story(job)
    assert job["error"]["step_id"] == "get"


def test_shell_takes_arguments_and_never_a_line(workbench: Workbench) -> None:
    command = ["/bin/echo", "{{ inputs.text }}"]
    steps = [
        step("echo", "shell.execute", {"command": command}),
        step("cat", "shell.execute", {"command": ["cat"], "stdin": "{{ inputs.text }}"}),
        step("fails", "shell.execute", {"command": ["sh", "-c", "exit 3"]}),
    ]
    text = "a; touch /tmp/x && $(id) `id` | cat > y"
    job = workbench.run(capsule("shell", steps, inputs=[ANY_TEXT]), {"text": text})
    assert step_of(job, "echo")["output"] == {"exit_code": 0, "stdout": text + "\n", "stderr": ""}
    assert step_of(job, "cat")["output"]["stdout"] == text
    assert step_of(job, "fails")["output"]["exit_code"] == 3


def test_git_in_the_jobs_folder(workbench: Workbench) -> None:
    steps = [
        step("init", "git.init", {"path": "project"}),
        step("write", "files.write", {"path": "project/readme.md", "content": "one\n"}),
        step("commit", "git.commit", {"path": "project", "message": "First words"}),
        step("change", "files.write", {"path": "project/readme.md", "content": "two\n"}),
        step("diff", "git.diff", {"path": "project"}),
        step("log", "git.log", {"path": "project"}),
    ]
    job = workbench.run(capsule("git", steps))
    commits = step_of(job, "log")["output"]["commits"]
    assert [commit["subject"] for commit in commits] == ["First words"]
    assert commits[0]["hash"] == step_of(job, "commit")["output"]["hash"]
    assert "-one" in step_of(job, "diff")["output"]["diff"]
    assert "+two" in step_of(job, "diff")["output"]["diff"]


def test_postgres_query_reads_and_only_reads(workbench: Workbench) -> None:
    query = {"connection": "library", "sql": "SELECT $1::int + 1 AS sum, $2 AS word", "parameters": [41, "'; DROP"]}
    job = workbench.run(capsule("query", [step("ask", "postgres.query", query)]))
    assert step_of(job, "ask")["output"] == {"rows": [{"sum": 42, "word": "'; DROP"}]}
    write = {"connection": "library", "sql": "CREATE TABLE t (a int)"}
    job = workbench.run(capsule("query_write", [step("ask", "postgres.query", write)]), status="failed")
    assert job["error"]["code"] == "query_not_read_only"
    unknown = {"connection": "nowhere", "sql": "SELECT 1"}
    job = workbench.run(capsule("query_unknown", [step("ask", "postgres.query", unknown)]), status="failed")
    assert job["error"]["code"] == "connection_unknown"


def test_memory_remembers_and_finds_again(workbench: Workbench) -> None:
    steps = [
        step("note", "memory.remember", {"key": "moon", "text": "The moon has no atmosphere.", "namespace": "astro"}),
        step("other", "memory.remember", {"key": "bread", "text": "Bread needs yeast.", "namespace": "astro"}),
        step("recall", "memory.recall", {"query": "atmosphere of the moon", "namespace": "astro", "limit": 1}),
        step("answer", "memory.retrieve", {"query": "Does the moon have an atmosphere?", "namespace": "astro"}),
    ]
    job = workbench.run(capsule("memory", steps))
    found = step_of(job, "recall")["output"]["items"]
    assert [item["key"] for item in found] == ["moon"]
    assert found[0]["provenance"]["job_id"] == job["id"]
    assert "no atmosphere" in step_of(job, "answer")["output"]["answer"]


def test_notifications_policy_and_budget_analysis(workbench: Workbench) -> None:
    steps = [
        step("judge", "policy.evaluate", {"prompt": "Summarise the minutes."}),
        step("tell", "notifications.send", {"message": "The minutes are ready.", "severity": "warning"}),
    ]
    job = workbench.run(capsule("tell", steps))
    assert step_of(job, "judge")["output"]["allowed"] is True
    sent = step_of(job, "tell")["output"]
    listed = workbench.ada.get("/v1/notifications", limit=200)["items"]
    mine = [one for one in listed if one["id"] == sent["notification_id"]]
    assert [one["message"] for one in mine] == ["The minutes are ready."]


def test_models_complete_and_embed(workbench: Workbench) -> None:
    text = "Temporal drives the workflows. Postgres is the record of everything. Redis wakes those who watch."
    steps = [
        step("sum", "slm.complete", {"role": "summarization", "prompt": "{{ inputs.text }}", "max_tokens": 60}),
        step("embed", "slm.embed", {"input": ["{{ inputs.text }}", "bread"]}, needs=[]),
    ]
    job = workbench.run(capsule("models", steps, inputs=[ANY_TEXT]), {"text": text})
    summed = step_of(job, "sum")["output"]
    assert summed["completion"]
    assert "builtin" in summed["model"]
    assert [len(vector) for vector in step_of(job, "embed")["output"]["vectors"]] == [384, 384]
    assert job["usage"]["tokens"] >= summed["usage"]["total_tokens"] > 0
    assert job["usage"]["reserved_tokens"] == 0


def test_types_survive_references(workbench: Workbench) -> None:
    inputs = [
        {"name": "number", "type": "number", "required": True},
        {"name": "flag", "type": "boolean", "default": False},
        {"name": "list", "type": "list", "required": True},
        {"name": "object", "type": "object", "required": True},
    ]
    steps = [step("split", "text.split", {"text": "a-b", "by": "-"})]
    outputs = {
        "number": "{{ inputs.number }}",
        "flag": "{{ inputs.flag }}",
        "list": "{{ inputs.list }}",
        "object": "{{ inputs.object }}",
        "deep": {"of": ["{{ inputs.object.a.0 }}", "{{ steps.split.output.parts }}"]},
        "sentence": "n={{ inputs.number }} f={{ inputs.flag }} p={{ steps.split.output.parts.1 }}",
    }
    given = {"number": 1.5, "list": [1, None, "x"], "object": {"a": [7]}}
    job = workbench.run(capsule("types", steps, inputs=inputs, outputs=outputs), given)
    shown = job["result"]["outputs"]
    assert shown["number"] == 1.5
    assert shown["flag"] is False
    assert shown["list"] == [1, None, "x"]
    assert shown["object"] == {"a": [7]}
    assert shown["deep"] == {"of": [7, ["a", "b"]]}
    assert shown["sentence"] == "n=1.5 f=false p=b"


@pytest.mark.parametrize("path", ["../../secret", "/etc/passwd", "shared/nowhere/x", "a/../../b", "attachments/../x"])
def test_paths_that_leave_the_folder_fail_the_job(workbench: Workbench, path: str) -> None:
    steps = [step("read", "files.read", {"path": "{{ inputs.text }}"})]
    job = workbench.run(capsule("outside", steps, inputs=[ANY_TEXT]), {"text": path}, status="failed")
    assert job["error"]["code"] == "path_outside_workspace", workbench.story(job)
    assert step_of(job, "read")["status"] == "failed"


def test_a_link_that_leaves_the_folder_fails_the_job(workbench: Workbench, stack: Stack) -> None:
    steps = [
        step("link", "shell.execute", {"command": ["ln", "-s", "/etc", "door"]}),
        step("read", "files.read", {"path": "door/passwd"}),
    ]
    job = workbench.run(capsule("link", steps), status="failed")
    assert job["error"]["code"] == "path_outside_workspace"
    assert job["error"]["step_id"] == "read"
