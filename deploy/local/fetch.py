"""Gets what is not on the machine into the cache: by official download, else by building from a package registry."""

from __future__ import annotations

import hashlib
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from somagent.deploy.local.cache import cache_dir
from somagent.deploy.local.parts import TEMPORAL_VERSION, TEST_SERVER_VERSION, temporal_cache_path, test_server_path
from somagent.domain.errors import Code, SomaError

Report = Callable[[str], None]
_RELEASES = f"https://github.com/temporalio/cli/releases/download/v{TEMPORAL_VERSION}"
_CONNECT_SECONDS = 8.0
_PROGRESS_SECONDS = 20.0
_SYSTEMS = {"Linux": "linux", "Darwin": "darwin"}
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def download_temporal(report: Report) -> bool:
    """Fetches the official Temporal CLI and checks it against the release's checksums; whether that worked."""
    system, machine = _SYSTEMS.get(platform.system()), _MACHINES.get(platform.machine())
    if system is None or machine is None:
        return False
    name = f"temporal_cli_{TEMPORAL_VERSION}_{system}_{machine}.tar.gz"
    report(f"Temporal CLI {TEMPORAL_VERSION}: trying the official download (60 MB)")
    try:
        checksums = _get(f"{_RELEASES}/checksums.txt").decode()
        expected = next(line.split()[0] for line in checksums.splitlines() if line.endswith(name))
        archive = _get(f"{_RELEASES}/{name}")
    except (OSError, StopIteration, ValueError) as error:
        report(f"Temporal CLI: the download does not work here ({error or 'no such file in the release'})")
        return False
    if hashlib.sha256(archive).hexdigest() != expected:
        report("Temporal CLI: the download is damaged (its checksum differs); it is not used")
        return False
    with tarfile.open(fileobj=io.BytesIO(archive)) as contents:
        member = contents.extractfile("temporal")
        if member is None:
            return False
        _put_program(temporal_cache_path(), member.read())
    return True


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=_CONNECT_SECONDS) as answer:  # noqa: S310 (a constant https address)
        body: bytes = answer.read()
    return body


def _put_program(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.chmod(0o755)
    temporary.replace(path)


def build_temporal(report: Report) -> bool:
    """Builds the Temporal CLI with the Go tool; whether that worked."""
    go = shutil.which("go")
    if go is None:
        report("Temporal CLI: there is no Go to build it with (https://go.dev/dl, 1.24 or newer)")
        return False
    module = f"github.com/temporalio/cli/cmd/temporal@v{TEMPORAL_VERSION}"
    report(f"Temporal CLI: building {module} (about 5 minutes on 2 cores, once; it is kept in {cache_dir()})")
    cache_dir().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir(), prefix=".build-") as folder:
        environment = {**os.environ, "GOBIN": folder, "GOFLAGS": "", "CGO_ENABLED": "0"}
        command = [go, "install", "-v", "-ldflags", "-s -w", module]
        if not _run_with_progress(command, environment, "Temporal CLI: building", report):
            return False
        temporal_cache_path().parent.mkdir(parents=True, exist_ok=True)
        (Path(folder) / "temporal").replace(temporal_cache_path())
    return True


def _run_with_progress(command: list[str], environment: dict[str, str], what: str, report: Report) -> bool:
    """Runs a long command that prints a line for each step, and says now and then how far it is."""
    begun = time.monotonic()
    lines: list[str] = []
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        output = process.stdout
        if output is None:  # cannot be: a pipe was asked for
            return False
        reader = threading.Thread(target=lambda: lines.extend(output), daemon=True)
        reader.start()
        while reader.is_alive():
            reader.join(_PROGRESS_SECONDS)
            if reader.is_alive():
                report(f"{what}, {len(lines)} packages done after {time.monotonic() - begun:.0f} s")
    if process.returncode != 0:
        report(f"{what} failed:\n" + "".join(lines[-15:]).rstrip())
    return process.returncode == 0


def fetch_test_server(report: Report) -> None:
    """Puts Temporal's time-skipping test server (Java) into the cache, for tests only.

    Raises:
        SomaError: ``part_missing`` with what to install.
    """
    program = test_server_path()
    if program.exists():
        return
    java, maven = shutil.which("java"), shutil.which("mvn")
    if java is None or maven is None:
        raise SomaError(
            Code.PART_MISSING,
            "The time-skipping tests need Java 17 and Maven (Debian: apt install default-jdk-headless maven).",
        )
    report(f"Time-skipping test server {TEST_SERVER_VERSION}: fetching its jars with Maven (10 s, 38 MB)")
    program.parent.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=program.parent.parent, prefix=".build-") as folder:
        unfinished = Path(folder) / "server"
        unfinished.mkdir()
        (unfinished / "pom.xml").write_text(_POM)
        command = [maven, "-B", "-q", "-f", str(unfinished / "pom.xml"), "dependency:copy-dependencies"]
        command.append(f"-DoutputDirectory={unfinished / 'libs'}")
        if not _run_with_progress(command, dict(os.environ), "Time-skipping test server: fetching", report):
            raise SomaError(Code.PART_MISSING, "Maven could not fetch the time-skipping test server; see above.")
        wrapper = unfinished / program.name
        wrapper.write_text(_WRAPPER.format(libs=program.parent / "libs"))
        wrapper.chmod(0o755)
        shutil.rmtree(program.parent, ignore_errors=True)
        unfinished.replace(program.parent)


_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>somagent</groupId>
  <artifactId>temporal-test-server-libs</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>io.temporal</groupId>
      <artifactId>temporal-test-server</artifactId>
      <version>{TEST_SERVER_VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""
_WRAPPER = """#!/bin/sh
exec java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "{libs}/*" io.temporal.testserver.TestServer "$@"
"""


def install_bubblewrap(report: Report) -> bool:
    """Installs the sandbox on Debian, as root only; whether that worked."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    report("bubblewrap: installing Debian's package (20 s)")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "bubblewrap"]
    for command in (install, ["apt-get", "update", "-q"], install):
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode == 0 and command is install:
            return True
    report(f"bubblewrap: apt-get failed: {done.stderr.strip()[-300:]}")
    return False


def to_terminal(text: str) -> None:
    """A report that prints, for set-up."""
    sys.stdout.write(f"[setup] {text}\n")
    sys.stdout.flush()
