"""The compose file: what Compose's own loader says, and that it fits the product."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from somagent.deploy.checks import known
from somagent.deploy.checks.gotools import COMPOSE, require
from somagent.deploy.checks.report import DEPLOY, Report
from somagent.workers.main import DRAIN_SECONDS, ROLES

FOLDER = DEPLOY / "compose"
FILE = FOLDER / "compose.yaml"
SANDBOX_FILE = FOLDER / "compose.userns.yaml"
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)(?:(:?[-?+])([^}]*))?\}")
_PINNED = re.compile(r"^[^:]+:[^:]*\d[^:]*$")
_ONE_SHOT = "on-failure"


def check_compose(report: Report) -> None:
    """Loads the file as Compose would, and checks what came out."""
    loader = require(COMPOSE, report.say)
    for files in ([FILE], [FILE, SANDBOX_FILE]):
        try:
            project = load(loader, files)
        except ValueError as refusal:
            report.fault(files[-1].name, str(refusal))
            continue
        for fault in project_faults(project):
            report.fault(files[-1].name, fault)
        report.say(f"{files[-1].name}: {len(project['services'])} services")
    for fault in variable_faults():
        report.fault(".env.example", fault)


def load(loader: Path, files: list[Path]) -> dict[str, Any]:
    """The project as Compose's loader resolves it, with a ``.env`` that make-env.sh made.

    The variables are put in here: the loader as a program reads none from its environment.

    Raises:
        ValueError: Compose refuses it.
    """
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / ".env"
        subprocess.run(["/bin/sh", FOLDER / "make-env.sh", made], check=True, capture_output=True, timeout=30)
        environment = read_env(made.read_text(encoding="utf-8"))
        copies = [Path(folder) / file.name for file in files]
        for file, copy in zip(files, copies, strict=True):
            copy.write_text(with_variables(file.read_text(encoding="utf-8"), environment), encoding="utf-8")
        done = subprocess.run(
            [loader, "-format", "json", "-no-path-resolution", *copies],
            cwd=folder, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    if done.returncode:
        raise ValueError((done.stderr or done.stdout).strip())
    project: dict[str, Any] = json.loads(done.stdout)
    return project


def read_env(text: str) -> dict[str, str]:
    """The variables of an ``.env`` file without quotes."""
    lines = (line.strip() for line in text.splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def variable_faults() -> Iterator[str]:
    """Variables of the compose file and of ``.env.example`` that do not meet."""
    used = {match[1] for match in _VARIABLE.finditer(FILE.read_text(encoding="utf-8"))}
    offered = set(read_env((FOLDER / ".env.example").read_text(encoding="utf-8")))
    yield from (f"{name} is used in compose.yaml and missing here" for name in sorted(used - offered))
    yield from (f"{name} is not used in compose.yaml" for name in sorted(offered - used))


def with_variables(text: str, environment: dict[str, str]) -> str:
    """The text of a compose file with ``${NAME}``, ``${NAME:-default}`` and ``${NAME:?why}`` replaced.

    Raises:
        ValueError: a required variable is empty or not there.
    """

    def value(match: re.Match[str]) -> str:
        given = environment.get(match[1], "")
        if not given and match[2] == ":?":
            raise ValueError(f"{match[1]} is required: {match[3]}")
        return given or (match[3] if match[2] == ":-" else "")

    return _VARIABLE.sub(value, text)


def project_faults(project: dict[str, Any]) -> list[str]:
    """What does not fit the product, or what a server should not be without."""
    services: dict[str, Any] = project["services"]
    found = [f"{name}: {fault}" for name, service in services.items() for fault in _service_faults(name, service)]
    ours = {name: service for name, service in services.items() if is_ours(service)}
    commands = [list(service["command"]) for service in ours.values()]
    found += [f"`somagent {' '.join(tokens)}`: {words}" for tokens, words in known.command_faults(commands)]
    roles = {command[2] for command in commands if command[0] == "worker"}
    found += [f"role {role} has no service, or is none" for role in sorted(roles ^ set(ROLES))]
    found += [fault for name, service in ours.items() for fault in _own_faults(name, service)]
    for name, service in services.items():
        waits = service.get("depends_on", {})
        found += [f"{name} waits for {other}, which is no service" for other in waits if other not in services]
    return found


def is_ours(service: dict[str, Any]) -> bool:
    """Whether a service runs SomaGent's image."""
    return str(service["image"]).startswith("somagent")


def _service_faults(name: str, service: dict[str, Any]) -> Iterator[str]:
    if not _PINNED.match(service["image"]) or service["image"].endswith(":latest"):
        yield f"the image {service['image']} is not pinned to a version"
    once = service.get("restart") == _ONE_SHOT
    # Our own image brings its health check; Temporal's UI is nobody's condition.
    if not once and not is_ours(service) and "healthcheck" not in service and name != "temporal-ui":
        yield "has no health check"
    if not once and "limits" not in service.get("deploy", {}).get("resources", {}):
        yield "has no limits"
    for source in _bind_sources(service):
        if not (FOLDER / source).exists():
            yield f"mounts {source}, which is not there"
    for other, wait in service.get("depends_on", {}).items():
        if wait.get("condition") not in {"service_healthy", "service_completed_successfully"}:
            yield f"does not wait until {other} is ready"


def _bind_sources(service: dict[str, Any]) -> Iterator[str]:
    """Files and folders that a service mounts, as the file or as Compose's loader writes them."""
    for mount in service.get("volumes", []):
        source = mount.partition(":")[0] if isinstance(mount, str) else mount["source"]
        if source.startswith("."):
            yield source


def _own_faults(name: str, service: dict[str, Any]) -> Iterator[str]:
    environment = {key: str(value) for key, value in service.get("environment", {}).items() if value is not None}
    for variable in sorted(set(environment) - known.environment_names()):
        yield f"{name}: {variable} is no setting"
    yield from (f"{name}: {fault}" for fault in known.settings_faults(environment))
    if "POSTGRES_URL" in environment and name != "migrate":
        yield f"{name}: has the owner's address, which only the migrations need"
    if not service.get("read_only") or service.get("cap_drop") != ["ALL"]:
        yield f"{name}: may write to its image or keeps capabilities"
    if _seconds(str(service.get("stop_grace_period", "10s"))) <= DRAIN_SECONDS + 3:
        yield f"{name}: is killed before it has drained"


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", text)
    return int(match[1] or 0) * 60 + int(match[2] or 0) if match else 0.0
