"""``make demo``: a capsule from its submission to a finished job, on a real stack, with live progress.

Two people take part: an author, who submits and installs the capsule and runs it, and a reviewer, who approves it. The
input is a folder of real documents, SomaGent's own; the output is a brief with citations.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import yaml
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from somagent.client import ApiError, SomaGent

ROOT = Path(__file__).parent.parent
CAPSULE = Path(__file__).parent / "handbook" / "capsule.yaml"
TENANT = "demo"

console = Console()


def main() -> int:
    """Run the demo; 0 when it ended with a brief."""
    data_dir = Path(os.environ.get("SOMAGENT_DATA_DIR", ROOT / ".somagent")).absolute()
    port = os.environ.get("SOMAGENT_PORT", "8080")
    _heading("1. Start the stack")
    _somagent("up", "--detach", "--data-dir", str(data_dir), "--port", port, "--share", f"handbook={ROOT / 'docs'}")
    api = _api_url(data_dir)
    author_token, reviewer_token = (_token(data_dir, user) for user in ("author", "reviewer"))
    with SomaGent(api, author_token) as author, SomaGent(api, reviewer_token) as reviewer:
        definition: dict[str, Any] = yaml.safe_load(CAPSULE.read_text(encoding="utf-8"))
        _publish(author, reviewer, definition)
        job = _run(author, definition)
        return _report(author, job, data_dir)


def _publish(author: SomaGent, reviewer: SomaGent, definition: dict[str, Any]) -> None:
    _heading("2. Submit the capsule, and have it reviewed")
    try:
        submission = author.submit_capsule(definition, owner="demo")
    except ApiError as error:
        if error.code != "submission_exists":
            raise
        console.print(f"{definition['id']} {definition['version']} is there from an earlier run.")
    else:
        console.print(f"submitted  {submission['id']} by author")
        decided = reviewer.review(submission["id"], "approve", notes="Reads one folder, asks one model, writes a page.")
        for finding in decided["findings"]:
            console.print(f"finding    {finding['severity']:<8} {finding['check']}: {finding['detail']}")
        console.print(f"reviewed   {decided['status']} by reviewer")
    _heading("3. Install it for the tenant")
    try:
        installation = author.install(definition["id"])
    except ApiError as error:
        if error.code != "already_installed":
            raise
        console.print("installed already")
    else:
        console.print(f"{installation['status']}  {installation['capsule_id']} {installation['version']}")


def _run(author: SomaGent, definition: dict[str, Any]) -> dict[str, Any]:
    _heading("4. Run it on this project's own documents")
    inputs = {"folder": "shared/handbook", "question": "How does an effect happen exactly once?"}
    job = author.run(definition["id"], inputs)
    console.print(f"job        {job['id']}")
    columns = (TextColumn("{task.description:<28}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        bar = progress.add_task("queued", total=job["progress"]["total"])
        for event in author.events(job["id"]):
            step = event.data.get("step_id", "")
            progress.update(bar, description=f"{event.type.partition('.')[2]} {step}")
            if "completed" in event.data:
                progress.update(bar, completed=event.data["completed"])
            progress.console.print(f"{event.id:>10}  {event.type:<18} {step}")
    return author.wait(job["id"])


def _report(author: SomaGent, job: dict[str, Any], data_dir: Path) -> int:
    _heading("5. What came of it")
    if job["status"] != "completed":
        problem = job["error"] or {}
        console.print(f"The job ended as {job['status']}: {problem.get('code')}: {problem.get('detail')}", style="red")
        return 1
    name = job["result"]["outputs"]["brief"]
    content = author.artifact(job["id"], name)
    path = data_dir / "demo" / f"brief-{job['id']}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    console.print(content.decode(), markup=False, highlight=False)
    console.print(f"Temporal UI: {job['temporal_ui_url']}", soft_wrap=True, highlight=False)
    console.print(f"tokens: {job['usage']['tokens']}; the stack stays up until `make down`", highlight=False)
    sys.stdout.flush()
    sys.stdout.write(f"brief: {path}\n")
    return 0


def _heading(text: str) -> None:
    console.print(f"\n[bold]{text}[/bold]")


def _somagent(*arguments: str) -> str:
    command = [sys.executable, "-m", "somagent.cli.app", *arguments]
    if arguments[0] == "up":
        subprocess.run(command, check=True)
        return ""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _api_url(data_dir: Path) -> str:
    status = orjson.loads(_somagent("status", "--data-dir", str(data_dir), "--output", "json"))
    return next(str(part["url"]) for part in status["parts"] if part["name"] == "api")


def _token(data_dir: Path, user: str) -> str:
    lines = _somagent("tokens", "issue", "--data-dir", str(data_dir), "--tenant", TENANT, "--user", user)
    return lines.strip().splitlines()[-1]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ApiError, subprocess.CalledProcessError) as failed:
        console.print(f"The demo stopped: {failed}", style="red")
        sys.exit(1)
