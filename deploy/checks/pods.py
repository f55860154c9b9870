"""Rules for the rendered documents that no schema knows: names that have to meet, and what every pod must have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from somagent.api.server import GRACE_SECONDS
from somagent.deploy.checks import known
from somagent.deploy.checks.rendering import Document
from somagent.services.starter import WORKFLOW_QUEUE
from somagent.workers.main import DRAIN_SECONDS, ROLES
from somagent.workflows.ports.jobs import ACTIVITY_QUEUE, SLM_QUEUE, TOOL_QUEUE

_OUTSIDE = frozenset({"HOME", "TZ", "TEMPORAL_CREATE_NAMESPACE", "TEMPORAL_RETENTION", "SOMAGENT_DEPLOYMENT"})
"""Variables of the scripts, and the one of ci/everything.yaml."""
_QUEUES = {
    "workflows": {WORKFLOW_QUEUE},
    "activities": {ACTIVITY_QUEUE, TOOL_QUEUE},
    "slm": {SLM_QUEUE},
    "relay": set[str](),
}
_PRE_STOP_SECONDS = 5
_AFTER_DRAIN_SECONDS = 3


def faults(documents: list[Document]) -> list[str]:
    """What is wrong."""
    found: list[str] = []
    commands: list[list[str]] = []
    for document in documents:
        where = f"{document['kind']}/{document['metadata']['name']}"
        if document["kind"] in {"Deployment", "Job"}:
            found += [f"{where}: {fault}" for fault in _pod_faults(document)]
            commands += [container["args"] for container in _containers(document) if "args" in container]
    found += [f"`somagent {' '.join(tokens)}`: {words}" for tokens, words in known.command_faults(commands)]
    found += _role_faults(documents)
    found += _meeting_faults(documents)
    return found


def _pod(document: Document) -> dict[str, Any]:
    pod: dict[str, Any] = document["spec"]["template"]["spec"]
    return pod


def _containers(document: Document) -> Iterator[dict[str, Any]]:
    yield from _pod(document)["containers"]


def _pod_faults(document: Document) -> Iterator[str]:
    pod = _pod(document)
    if not pod.get("securityContext", {}).get("runAsNonRoot"):
        yield "may run as root"
    if pod.get("automountServiceAccountToken") is not False:
        yield "gets the cluster's token, which it does not need"
    if pod.get("enableServiceLinks") is not False:
        yield "gets service links: a service called somagent would set SOMAGENT_PORT"
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        name = container["name"]
        security = container.get("securityContext", {})
        if not security.get("readOnlyRootFilesystem") or security.get("allowPrivilegeEscalation") is not False:
            yield f"{name} may write to its image or gain rights"
        if "memory" not in container.get("resources", {}).get("limits", {}):
            yield f"{name} has no limit of memory"
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in volumes:
                yield f"{name} mounts {mount['name']}, which is no volume of the pod"
        yield from _environment_faults(container)
    if document["kind"] == "Deployment":
        yield from _lifecycle_faults(document)


def _environment_faults(container: dict[str, Any]) -> Iterator[str]:
    literal: dict[str, str] = {}
    seen: set[str] = set()
    for variable in container.get("env", []):
        name = variable["name"]
        if name in seen:
            yield f"{container['name']} has {name} twice"
        seen.add(name)
        if name not in known.environment_names() | _OUTSIDE:
            yield f"{container['name']} sets {name}, which is no setting"
        if "value" in variable:
            literal[name] = variable["value"]
    for fault in known.settings_faults(literal):
        yield f"{container['name']}: {fault}"


def _lifecycle_faults(document: Document) -> Iterator[str]:
    pod = _pod(document)
    is_api = document["metadata"]["labels"]["app.kubernetes.io/component"] == "api"
    needed = GRACE_SECONDS + _PRE_STOP_SECONDS if is_api else DRAIN_SECONDS + _AFTER_DRAIN_SECONDS
    if pod.get("terminationGracePeriodSeconds", 30) <= needed:
        yield f"is killed before it has drained ({needed} s)"
    for container in pod["containers"]:
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if probe not in container:
                yield f"{container['name']} has no {probe}"
            elif container[probe]["httpGet"]["port"] not in {port["name"] for port in container.get("ports", [])}:
                yield f"{container['name']}: {probe} asks a port that is not there"


def _role_faults(documents: list[Document]) -> Iterator[str]:
    deployed = {
        document["metadata"]["labels"].get("somagent/role")
        for document in documents
        if document["kind"] == "Deployment"
    } - {None}
    for role in set(ROLES) ^ deployed:
        yield f"role {role} is {'not deployed' if role in ROLES else 'no role of the worker'}"
    for document in (document for document in documents if document["kind"] == "ScaledObject"):
        role = document["metadata"]["labels"]["somagent/role"]
        triggers = document["spec"]["triggers"]
        queues = {trigger["metadata"]["taskQueue"] for trigger in triggers if trigger["type"] == "temporal"}
        if queues != _QUEUES[role]:
            yield f"{document['metadata']['name']} scales by {sorted(queues)}; {role} polls {sorted(_QUEUES[role])}"


def _meeting_faults(documents: list[Document]) -> Iterator[str]:
    deployments = {document["metadata"]["name"]: document for document in documents if document["kind"] == "Deployment"}
    pods = [document["spec"]["template"]["metadata"]["labels"] for document in deployments.values()]
    for document in documents:
        where = f"{document['kind']}/{document['metadata']['name']}"
        spec = document.get("spec", {})
        if document["kind"] in {"HorizontalPodAutoscaler", "ScaledObject"}:
            if spec["scaleTargetRef"]["name"] not in deployments:
                yield f"{where} scales {spec['scaleTargetRef']['name']}, which is not there"
            elif "replicas" in deployments[spec["scaleTargetRef"]["name"]]["spec"]:
                yield f"{where} scales what has fixed replicas: each upgrade would undo its work"
        selector = _selector(document)
        if selector is not None and not any(selector.items() <= labels.items() for labels in pods):
            yield f"{where} selects no pod"


def _selector(document: Document) -> dict[str, str] | None:
    spec = document.get("spec", {})
    match document["kind"]:
        case "Service":
            labels: dict[str, str] = spec["selector"]
        case "Deployment" | "PodDisruptionBudget":
            labels = spec["selector"]["matchLabels"]
        case "NetworkPolicy":
            labels = spec["podSelector"]["matchLabels"]
        case _:
            return None
    return labels
