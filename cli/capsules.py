"""``somagent capsule``: what an author does with a capsule's file before and when it is handed in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import httpx
from cyclopts import App, Parameter

from somagent.adapters.capsules_folder import FolderCapsule, read_capsule
from somagent.cli.output import OutputFormat, complain, say, show_json
from somagent.client import ApiError, SomaGent
from somagent.deploy.local.layout import Layout, default_data_dir
from somagent.deploy.local.state import running_state
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import JsonObject, Model

CapsuleFile = Annotated[Path, Parameter(help="The capsule's YAML file.")]

app = App(name="capsule", help="Check, hash and submit the capsule in a YAML file.", result_action="return_value")


class FaultRow(Model):
    """One fault, as ``check --output json`` shows it."""

    path: str
    code: str
    detail: str


class CheckDocument(Model):
    """What ``check --output json`` prints; ``faults`` is empty when the capsule can run."""

    sound: bool
    detail: str
    faults: list[FaultRow]


class SubmissionDocument(Model):
    """The body of ``POST /v1/submissions``, as ``submit --dry-run`` prints it."""

    capsule_id: str
    version: str
    owner: str
    summary: str
    tenant_scope: str
    attestation_hash: str
    definition: JsonObject


@app.command
def check(file: CapsuleFile, /, *, output: OutputFormat = "table") -> int:
    """Show every fault of the capsule with its path; exit code 1 when there is one."""
    try:
        capsule = read_capsule(file)
    except SomaError as error:
        if output == "table":
            return _refuse(file, error)
        faults = [FaultRow(path=fault.path, code=fault.code, detail=fault.detail) for fault in error.errors]
        show_json(CheckDocument(sound=False, detail=error.detail, faults=faults))
        return 1
    if output == "json":
        show_json(CheckDocument(sound=True, detail=_in_short(capsule), faults=[]))
    else:
        say(_in_short(capsule))
    return 0


@app.command(name="hash")
def hash_(file: CapsuleFile, /) -> int:
    """Print the attestation hash: the hex SHA-256 of the definition's RFC 8785 canonical JSON."""
    try:
        say(read_capsule(file).attestation_hash)
    except SomaError as error:
        return _refuse(file, error)
    return 0


@app.command
def submit(
    file: CapsuleFile,
    /,
    *,
    owner: Annotated[str, Parameter(help="A label for the team or person that answers for the capsule.")],
    token: Annotated[
        str, Parameter(env_var="SOMAGENT_TOKEN", help="The submitter's token; it needs capsule:submit.")
    ] = "",
    url: Annotated[
        str, Parameter(env_var="SOMAGENT_URL", help="The API's address; else that of the stack in the data dir.")
    ] = "",
    tenant_scope: Annotated[str, Parameter(help="global, or the one tenant that may install it.")] = "global",
    dry_run: Annotated[
        bool, Parameter(negative=(), help="Print the body of POST /v1/submissions instead of sending it.")
    ] = False,
    data_dir: Annotated[Path | None, Parameter(name="--data-dir", help="The stack's folder.")] = None,
) -> int:
    """Hand the capsule in for review. The submission's id stands alone on the last line."""
    try:
        body = _submission(read_capsule(file), owner, tenant_scope)
    except SomaError as error:
        return _refuse(file, error)
    if dry_run:
        show_json(body)
        return 0
    if not token:
        raise SomaError(Code.INPUT_INVALID, "Say who submits: set SOMAGENT_TOKEN to a token, or give --token.")
    return _send(url or _running_api(data_dir), token, body)


def _submission(capsule: FolderCapsule, owner: str, tenant_scope: str) -> SubmissionDocument:
    definition = capsule.definition
    return SubmissionDocument(
        capsule_id=definition.id,
        version=definition.version,
        owner=owner,
        summary=definition.summary,
        tenant_scope=tenant_scope,
        attestation_hash=capsule.attestation_hash,
        definition=capsule.document,
    )


def _send(url: str, token: str, body: SubmissionDocument) -> int:
    try:
        with SomaGent(url, token) as client:
            answer = client.post("/v1/submissions", body.model_dump(mode="json"))
    except ApiError as error:
        complain(str(error))
        return 1
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise SomaError(
            Code.STACK_NOT_RUNNING, f"{url} does not answer ({error}). Is the stack up? See `somagent status`."
        ) from error
    say(f"{body.capsule_id} {body.version} is {answer['status']}, until {answer['deadline']}. Its submission:")
    say(str(answer["id"]))
    return 0


def _running_api(data_dir: Path | None) -> str:
    """The address of the running stack's API.

    Raises:
        SomaError: ``stack_not_running``.
    """
    layout = Layout.of(data_dir or default_data_dir())
    api = running_state(layout).part("api")
    if api is None:
        raise SomaError(Code.STACK_NOT_RUNNING, f"The stack in {layout.root} is still starting. Try again shortly.")
    return api.url


def _refuse(file: Path, error: SomaError) -> int:
    complain(error.detail)
    for fault in error.errors:
        if fault.code != "unreadable":  # said already, with the file's name
            complain(f"  {fault.path or file.name}: {fault.detail}  [{fault.code}]")
    return 1


def _in_short(capsule: FolderCapsule) -> str:
    definition = capsule.definition
    steps = f"{len(definition.steps)} step{'' if len(definition.steps) == 1 else 's'}"
    return f"{definition.id} {definition.version} can run: {steps}, no faults."
