"""git.* with the real git, in each confinement that this machine can do."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from somagent.adapters.egress import EgressRules
from somagent.adapters.settings import Settings
from somagent.adapters.tools.bubblewrap import BWRAP_NAMES, Bubblewrap
from somagent.adapters.tools.git import GitTool
from somagent.adapters.tools.landlock import Landlock
from somagent.adapters.tools.port import ToolContext
from somagent.adapters.tools.registry import ToolRegistry
from somagent.adapters.tools.sandbox import Confinement, Sandbox
from somagent.domain.actions import action
from somagent.domain.errors import Code, SomaError
from somagent.tests.tools.bench import Bench, names

ROOT = os.geteuid() == 0


class GitBench:
    """Runs git.* in one confinement."""

    def __init__(self, tool: GitTool, context: ToolContext) -> None:
        self.tool = tool
        self.context = context

    async def get(self, verb: str, /, effect: str = "job:step", **params: Any) -> dict[str, Any]:
        """The output as JSON types."""
        model = action(f"git.{verb}").params.model_validate(params)
        output = await self.tool.execute(verb, model, replace(self.context, effect_key=effect))
        assert type(output) is action(f"git.{verb}").output
        return output.model_dump(mode="json")

    async def refused(self, verb: str, code: Code, /, **params: Any) -> SomaError:
        """The error of an action that must fail with ``code``."""
        with pytest.raises(SomaError) as caught:
            await self.get(verb, **params)
        assert caught.value.code == code, caught.value
        return caught.value

    def write(self, path: str, content: str) -> None:
        """A file in the job's folder."""
        file = self.context.workspace / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)


@pytest.fixture(params=["bubblewrap", "landlock"])
async def git(request: pytest.FixtureRequest, context: ToolContext) -> GitBench:
    confinement: Confinement = (
        Landlock(as_root=ROOT)
        if request.param == "landlock"
        else Bubblewrap(BWRAP_NAMES[0], as_root=ROOT, own_process_count=True)
    )
    return GitBench(GitTool(Sandbox(confinement), EgressRules()), context)


def real_git(folder: Path, *arguments: str) -> str:
    """The machine's own git, as the person who shares a repository uses it."""
    done = subprocess.run(
        ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "safe.directory=*", *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def everything(folder: Path) -> list[str]:
    """Every file and folder below."""
    return sorted(str(path) for path in folder.rglob("*"))


@pytest.fixture
def repository(shared: Path) -> Path:
    """A repository in the shared folder: two commits, and a change not yet committed."""
    folder = shared / "project"
    folder.mkdir()
    real_git(folder, "init", "-q", "-b", "main")
    (folder / "a.txt").write_text("one\n")
    real_git(folder, "add", ".")
    real_git(folder, "commit", "-q", "-m", "Begin\n\nWith a body\nof two lines")
    (folder / "a.txt").write_text("two\n")
    (folder / "é b.txt").write_text("new\n")
    real_git(folder, "add", ".")
    real_git(folder, "commit", "-q", "-m", "Go on")
    (folder / "a.txt").write_text("three\n")
    return folder


async def test_reads_the_history_of_a_shared_repository(git: GitBench, repository: Path) -> None:
    before = everything(repository)
    found = await git.get("log", path="shared/notes/project")
    assert [commit["subject"] for commit in found["commits"]] == ["Go on", "Begin"]
    assert found["commits"][1]["body"] == "With a body\nof two lines"
    assert found["commits"][0]["author"] == "Ada <ada@example.org>"
    assert found["commits"][0]["hash"] == real_git(repository, "rev-parse", "HEAD")
    assert "Go on" in found["text"]
    assert len((await git.get("log", path="shared/notes/project", limit=1))["commits"]) == 1
    assert (await git.get("log", path="shared/notes/project", since="2090-01-01"))["commits"] == []
    assert everything(repository) == before


async def test_compares_states_of_a_shared_repository(git: GitBench, repository: Path) -> None:
    tree = await git.get("diff", path="shared/notes/project")
    assert "-two\n+three\n" in tree["diff"]
    assert tree["files"] == ["a.txt"]
    commits = await git.get("diff", path="shared/notes/project", base="HEAD~1", head="HEAD")
    assert commits["files"] == ["a.txt", "é b.txt"]
    assert "-one\n+two\n" in commits["diff"]
    error = await git.refused("diff", Code.GIT_FAILED, path="shared/notes/project", base="no-such")
    assert not error.retryable


async def test_init_commit_log_diff(git: GitBench) -> None:
    assert await git.get("init", path="deep/repo") == {"path": "deep/repo"}
    assert await git.get("init", path="deep/repo") == {"path": "deep/repo"}
    assert await git.get("log", path="deep/repo") == {"commits": [], "text": ""}
    assert await git.get("diff", path="deep/repo") == {"diff": "", "files": []}
    error = await git.refused("commit", Code.GIT_FAILED, path="deep/repo", message="Nothing")
    assert not error.retryable
    git.write("deep/repo/a.txt", "one\n")
    git.write("deep/repo/.hidden/b.txt", "one\n")
    made = await git.get("commit", path="deep/repo", message="Begin\n# kept")
    assert made["files"] == [".hidden/b.txt", "a.txt"]
    found = (await git.get("log", path="deep/repo"))["commits"]
    assert [(commit["hash"], commit["author"]) for commit in found] == [
        (made["hash"], "SomaGent <agent@somagent.invalid>")
    ]
    assert "# kept" in found[0]["body"] + found[0]["subject"]
    git.write("deep/repo/a.txt", "two\n")
    assert (await git.get("diff", path="deep/repo"))["files"] == ["a.txt"]


async def test_a_commit_is_made_once(git: GitBench) -> None:
    await git.get("init", path="r")
    git.write("r/a", "1")
    first = await git.get("commit", path="r", message="One", effect="job:a")
    git.write("r/a", "2")
    second = await git.get("commit", path="r", message="Two", effect="job:b", author="Ada L <ada@example.org>")
    git.write("r/a", "3")
    assert await git.get("commit", path="r", message="One", effect="job:a") == first
    assert await git.get("commit", path="r", message="Two", effect="job:b") == second
    third = await git.get("commit", path="r", message="Three", effect="job:c")
    unchanged = await git.get("commit", path="r", message="None", effect="job:d")
    assert unchanged == {"hash": third["hash"], "files": []}
    found = (await git.get("log", path="r"))["commits"]
    assert [commit["subject"] for commit in found] == ["Three", "Two", "One"]
    assert found[1]["author"] == "Ada L <ada@example.org>"


async def test_a_lock_that_a_killed_worker_left_is_no_obstacle(git: GitBench, workspace: Path) -> None:
    await git.get("init", path="r")
    git.write("r/a", "1")
    git.write("r/.git/index.lock", "")
    assert (await git.refused("commit", Code.GIT_FAILED, path="r", message="m")).retryable
    os.utime(workspace / "r" / ".git" / "index.lock", (0, 0))
    assert (await git.get("commit", path="r", message="m"))["files"] == ["a"]


async def test_the_jobs_folder_itself_can_be_a_repository(git: GitBench) -> None:
    await git.get("init")
    git.write("page.md", "text")
    assert (await git.get("commit", message="All"))["files"] == ["page.md"]


@pytest.mark.parametrize("path", ["..", "/tmp", "shared/none", "a/../../b"])  # noqa: S108
async def test_paths_outside_are_refused(git: GitBench, path: str) -> None:
    for verb, more in (("log", {}), ("diff", {}), ("commit", {"message": "m"}), ("init", {}), ("clone", {"url": "x"})):
        await git.refused(verb, Code.PATH_OUTSIDE_WORKSPACE, path=path, **more)
    await git.refused("clone", Code.PATH_OUTSIDE_WORKSPACE, url=path)


async def test_shared_repositories_cannot_be_changed(git: GitBench, repository: Path) -> None:
    head = real_git(repository, "rev-parse", "HEAD")
    await git.refused("commit", Code.PATH_OUTSIDE_WORKSPACE, path="shared/notes/project", message="m")
    await git.refused("init", Code.PATH_OUTSIDE_WORKSPACE, path="shared/notes/new")
    await git.refused("clone", Code.PATH_OUTSIDE_WORKSPACE, url="shared/notes/project", path="shared/notes/new")
    assert real_git(repository, "rev-parse", "HEAD") == head


async def test_a_folder_that_is_no_repository(git: GitBench, workspace: Path, tmp_path: Path) -> None:
    real_git(tmp_path, "init", "-q")  # one above the job's folder is never taken in its place
    (workspace / "plain").mkdir()
    for path in (".", "plain", "shared/notes"):
        assert "not a git repository" in (await git.refused("log", Code.GIT_FAILED, path=path)).detail
    await git.refused("log", Code.FILE_NOT_FOUND, path="none")
    (workspace / "link").symlink_to(tmp_path)
    await git.refused("log", Code.PATH_OUTSIDE_WORKSPACE, path="link")


@pytest.mark.parametrize(
    "revision", ["--output=/tmp/x", "-p", "a b", "HEAD..HEAD~1", "HEAD:a.txt", "$(id)", "", "a\0b"]
)
async def test_inputs_never_become_options(git: GitBench, repository: Path, revision: str) -> None:
    await git.refused("diff", Code.PARAMS_INVALID, path="shared/notes/project", base=revision)
    await git.refused("diff", Code.PARAMS_INVALID, path="shared/notes/project", head=revision)


async def test_options_as_values_stay_values(git: GitBench, workspace: Path) -> None:
    await git.get("init", path="--bare")
    git.write("--bare/-rf", "x")
    made = await git.get("commit", path="--bare", message="--amend\n-F /etc/passwd")
    assert made["files"] == ["-rf"]
    await git.refused("commit", Code.PARAMS_INVALID, path="--bare", message="m", author="--no-author")
    await git.get("clone", url="--bare", path="--upload-pack=x")
    assert (workspace / "--upload-pack=x" / "-rf").read_text() == "x"


async def test_what_a_repository_configures_does_not_get_out(git: GitBench, workspace: Path, tmp_path: Path) -> None:
    await git.get("init", path="r")
    outside = tmp_path / "outside"
    hook = workspace / "r" / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {workspace}/r/hooked hooked {outside}\n")
    hook.chmod(0o755)
    with (workspace / "r" / ".git" / "config").open("a") as config:
        config.write(
            f"[core]\n\tfsmonitor = touch {outside}\n\tpager = touch {outside}\n"
            f'[diff]\n\texternal = touch {outside}\n[diff "x"]\n\ttextconv = touch {outside}; cat\n'
            f'[filter "x"]\n\tclean = touch {outside}; cat\n'
        )
    git.write("r/.gitattributes", "* diff=x filter=x\n")
    git.write("r/a", "1")
    made = await git.get("commit", path="r", message="m")
    assert made["files"] == [".gitattributes", "a"]
    git.write("r/a", "2")
    assert "+2" in (await git.get("diff", path="r"))["diff"]
    assert not outside.exists()
    assert "hooked" not in names(workspace / "r")


async def test_clones_a_shared_repository_once(git: GitBench, repository: Path, workspace: Path) -> None:
    made = await git.get("clone", url="shared/notes/project", path="copies/project")
    assert made == {"path": "copies/project", "head": real_git(repository, "rev-parse", "HEAD")}
    assert (workspace / "copies" / "project" / "a.txt").read_text() == "two\n"
    assert names(workspace / "copies") == ["project"]
    git.write("copies/project/a.txt", "mine\n")
    assert await git.get("clone", url="shared/notes/project", path="copies/project") == made
    assert (workspace / "copies" / "project" / "a.txt").read_text() == "mine\n"
    await git.refused(
        "clone", Code.PARAMS_INVALID, effect="other:step", url="shared/notes/project", path="copies/project"
    )
    await git.get("clone", effect="o:s", url="shared/notes/project", path="shallow", depth=1)
    assert len((await git.get("log", path="shallow"))["commits"]) == 1
    assert [name for name in names(workspace) if name.startswith(".somagent")] == []


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("file:///etc", Code.EGRESS_REFUSED), ("ssh://git@example.org/x", Code.EGRESS_REFUSED),
        ("git@example.org:x", Code.EGRESS_REFUSED), ("git://example.org/x", Code.EGRESS_REFUSED),
        ("ext::sh -c id", Code.EGRESS_REFUSED), ("http://127.0.0.1/x", Code.EGRESS_REFUSED),
        ("http://localhost/x", Code.EGRESS_REFUSED), ("http://2130706433/x", Code.EGRESS_REFUSED),
        ("http://0x7f.1/x", Code.EGRESS_REFUSED), ("http://[::1]/x", Code.EGRESS_REFUSED),
        ("http://169.254.169.254/latest", Code.EGRESS_REFUSED), ("https://u:p@example.org/x", Code.EGRESS_REFUSED),
        ("none", Code.FILE_NOT_FOUND),
    ],
)  # fmt: skip
async def test_where_a_clone_may_not_come_from(git: GitBench, workspace: Path, url: str, code: Code) -> None:
    await git.refused("clone", code, url=url)
    assert "repository" not in names(workspace)


@pytest.fixture
def web_root(repository: Path, tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """The repository on a web server of its own, as plain files."""
    root = tmp_path / "web"
    real_git(tmp_path, "clone", "-q", "--bare", str(repository), str(root / "project.git"))
    real_git(root / "project.git", "update-server-info")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server.server_port, root
    server.shutdown()
    server.server_close()
    thread.join()


class _Files(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/moved"))
            self.end_headers()
            return
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return


@pytest.fixture
async def allowed(git: GitBench, web_root: tuple[int, Path]) -> GitBench:
    rules = EgressRules(f"127.0.0.1:{web_root[0]},localhost:{web_root[0]}")
    return GitBench(GitTool(git.tool._sandbox, rules), git.context)


async def test_clones_over_the_network_where_it_is_allowed(
    allowed: GitBench, web_root: tuple[int, Path], repository: Path
) -> None:
    port, _ = web_root
    for host in ("127.0.0.1", "localhost"):
        made = await allowed.get("clone", effect=host, url=f"http://{host}:{port}/project.git", path=host)
        assert made == {"path": host, "head": real_git(repository, "rev-parse", "HEAD")}
    error = await allowed.refused("clone", Code.GIT_FAILED, url=f"http://127.0.0.1:{port}/none.git")
    assert error.retryable
    await allowed.refused("clone", Code.GIT_FAILED, url=f"http://127.0.0.1:{port}/moved/project.git")
    await allowed.refused("clone", Code.EGRESS_REFUSED, url=f"http://127.0.0.1:{port + 1}/project.git")


async def test_a_clones_submodules_and_links_stay_untouched(
    allowed: GitBench, web_root: tuple[int, Path], tmp_path: Path
) -> None:
    port, root = web_root
    source = tmp_path / "source"
    source.mkdir()
    real_git(source, "init", "-q", "-b", "main")
    (source / "passwd").symlink_to("/etc/passwd")
    (source / ".gitmodules").write_text('[submodule "x"]\n\tpath = x\n\turl = file:///etc\n')
    real_git(source, "add", ".")
    real_git(source, "commit", "-q", "-m", "Links")
    real_git(tmp_path, "clone", "-q", "--bare", str(source), str(root / "links.git"))
    real_git(root / "links.git", "update-server-info")
    await allowed.get("clone", url=f"http://127.0.0.1:{port}/links.git", path="links")
    registry = ToolRegistry(Settings())
    await Bench(registry, allowed.context).refused("files.read", Code.PATH_OUTSIDE_WORKSPACE, path="links/passwd")
    await registry.close()


async def test_signs_of_life_and_the_time_limit(git: GitBench, repository: Path) -> None:
    beats: list[int] = []
    hurried = GitBench(git.tool, replace(git.context, timeout_seconds=0.001, heartbeat=lambda: beats.append(1)))
    await hurried.refused("log", Code.STEP_TIMED_OUT, path="shared/notes/project")
