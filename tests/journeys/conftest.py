"""A stack that shares documents and a repository with its jobs, and a page on a server of the tests' own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from somagent.client import SomaGent
from somagent.tests.harness import new_stack

MINUTES = """Minutes of 3 March

Anna decided to move the launch of the harbour ferry to 12 May because the audit is late.
Bob will call the supplier of the batteries before Friday.
Open question: who pays for the second audit? The budget is 40,000 euros.
"""
REPORT = """# Harbour ferry

The harbour ferry carries 120 passengers and runs on two batteries.
Each battery lasts four crossings; charging takes twenty minutes at the northern pier.
The northern pier was rebuilt last year and has two chargers.
"""


@dataclass
class Page:
    """One page on a real socket; a test changes ``text`` between looks."""

    text: str
    status: int = 200
    server: ThreadingHTTPServer = field(init=False)

    def __post_init__(self) -> None:
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = page.text.encode()
                self.send_response(page.status)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_line: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server.server_port}/offers"

    def close(self) -> None:
        """Away."""
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def page() -> Iterator[Page]:
    served = Page("")
    yield served
    served.close()


def _git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=Ada Byron", "-c", "user.email=ada@example.org"]
    subprocess.run(["git", *who, "-C", str(folder), *arguments], check=True, capture_output=True)


def _repository(folder: Path) -> None:
    folder.mkdir()
    _git(folder, "init", "--quiet")
    for number, (name, text, message) in enumerate(
        [
            ("README.md", "# Ferry\n\nPlans the crossings of the harbour ferry.\n", "Start the planner"),
            ("plan.py", "print('four crossings')\n", "Plan four crossings a charge"),
            ("plan.py", "print('five crossings')\n", "Plan five crossings since the batteries are new"),
        ]
    ):
        (folder / name).write_text(text)
        _git(folder, "add", "--all")
        _git(folder, "commit", "--quiet", "--date", f"2026-0{number + 1}-01T12:00:00Z", "-m", message)
    (folder / "untracked.log").write_text("not part of it\n")


@pytest.fixture(scope="session")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SomaGent]:
    """Somebody of a new tenant, on a stack with two shares."""
    shares = tmp_path_factory.mktemp("shares")
    documents, repository = shares / "documents", shares / "repository"
    documents.mkdir()
    (documents / "minutes.txt").write_text(MINUTES)
    (documents / "report.md").write_text(REPORT)
    (documents / "photo.jpg").write_bytes(b"\xff\xd8\xff\x00")
    _repository(repository)
    for folder in (shares, *shares.rglob("*")):
        folder.chmod(0o755 if folder.is_dir() else 0o644)
    stack = new_stack(SOMAGENT_EGRESS_ALLOW="127.0.0.1")
    try:
        stack.up("--share", f"documents={documents}", "--share", f"repository={repository}")
        issued = stack.run("tokens", "issue", "--tenant", "harbour", "--user", "ada")
        assert issued.returncode == 0, issued.stdout + issued.stderr
        with SomaGent(f"http://127.0.0.1:{stack.port}", issued.stdout.rstrip().splitlines()[-1], timeout=60) as client:
            yield client
    finally:
        stack.destroy()
