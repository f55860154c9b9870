"""The Dockerfile, without a daemon: its instructions read, and held against what an image for production needs."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from somagent.deploy.checks import known
from somagent.deploy.checks.report import DEPLOY, ROOT, Report

FILE = DEPLOY / "docker" / "Dockerfile"
_BUILD_TOOLS = re.compile(r"^(build-essential|gcc|g\+\+|make|cmake|cargo|rustc|golang.*|.*-dev)$")
_NEEDED = frozenset({"bubblewrap", "git", "tini"})


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of one stage."""

    stage: int
    name: str
    arguments: str


def read_instructions(text: str) -> list[Instruction]:
    """The instructions in order, continued lines joined, comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found: list[Instruction] = []
    stage = -1
    for line in (line.strip() for line in joined.splitlines()):
        if line:
            name, _, arguments = line.partition(" ")
            stage += name.upper() == "FROM"
            found.append(Instruction(stage, name.upper(), arguments.strip()))
    return found


def faults(text: str) -> Iterator[str]:
    """What is wrong with a Dockerfile."""
    instructions = read_instructions(text)
    last = max(instruction.stage for instruction in instructions)
    final = [instruction for instruction in instructions if instruction.stage == last]
    by_name = {instruction.name: instruction.arguments for instruction in final}
    if last < 1:
        yield "has one stage: what builds would stay in the image"
    if not re.fullmatch(r"[1-9]\d*(:\d+)?", by_name.get("USER", "")):
        yield f"USER {by_name.get('USER', '(root)')}: not a number other than 0, which a cluster could check"
    if "HEALTHCHECK" not in by_name:
        yield "has no HEALTHCHECK"
    yield from _command_faults(by_name)
    yield from _package_faults(final)
    yield from _image_faults(instructions)
    yield from _copy_faults(instructions)


def check_dockerfile(report: Report) -> None:
    """Reads the Dockerfile."""
    text = FILE.read_text(encoding="utf-8")
    for fault in faults(text):
        report.fault("Dockerfile", fault)
    report.say(f"Dockerfile: {len(read_instructions(text))} instructions")


def _command_faults(by_name: dict[str, str]) -> Iterator[str]:
    try:
        entrypoint, command = json.loads(by_name.get("ENTRYPOINT", "")), json.loads(by_name.get("CMD", ""))
    except ValueError:
        yield "ENTRYPOINT and CMD are not both in exec form: a shell would swallow SIGTERM"
        return
    if entrypoint[-1] != "somagent":
        yield f"ENTRYPOINT ends with {entrypoint[-1]}, not somagent"
    yield from (f"CMD {' '.join(tokens)}: {words}" for tokens, words in known.command_faults([command]))
    environment = dict(pair.split("=", 1) for pair in shlex.split(by_name.get("ENV", "")))
    yield from known.settings_faults(environment)


def _package_faults(final: list[Instruction]) -> Iterator[str]:
    words = [word for instruction in final if instruction.name == "RUN" for word in shlex.split(instruction.arguments)]
    yield from (f"the final image gets {word}, which builds" for word in words if _BUILD_TOOLS.match(word))
    yield from (f"the final image lacks {name}" for name in sorted(_NEEDED - set(words)))


def _image_faults(instructions: list[Instruction]) -> Iterator[str]:
    given = dict(one.arguments.split("=", 1) for one in instructions if one.name == "ARG" and "=" in one.arguments)
    stages: set[str] = set()
    for instruction in (one for one in instructions if one.name == "FROM"):
        image, _, stage = instruction.arguments.partition(" AS ")
        image = re.sub(r"\$\{(\w+)\}", lambda match: given.get(match[1], ""), image)
        if image not in stages and (":" not in image or image.endswith(":latest")):
            yield f"FROM {image}: not pinned to a version"
        stages.add(stage.strip())


def _copy_faults(instructions: list[Instruction]) -> Iterator[str]:
    for instruction in instructions:
        if instruction.name == "ADD":
            yield "uses ADD, which fetches and unpacks; COPY does not"
        if instruction.name == "COPY" and "--from=" not in instruction.arguments:
            sources = [word for word in shlex.split(instruction.arguments)[:-1] if not word.startswith("--")]
            yield from (f"COPY {source}: not there" for source in sources if not (ROOT / source).exists())
            yield from (
                f"COPY {source}: left out by .dockerignore"
                for source in sources
                if source != "." and not in_context(source)
            )


def in_context(path: str) -> bool:
    """Whether .dockerignore, whose last matching line counts, lets a path of the repository into the build."""
    kept = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.strip().removeprefix("!")
        if not pattern or pattern.startswith("#"):
            continue
        above = [Path(path), *Path(path).parents]
        if pattern == "**" or any(_matches(candidate, pattern) for candidate in above):
            kept = line.strip().startswith("!")
    return kept


def _matches(path: Path, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return path.match(pattern.removeprefix("**/"))
    return path == Path(pattern)
