"""The chart: rendered by helm under several values, every document held against Kubernetes' own schemas."""

from __future__ import annotations

from collections import Counter

import kubernetes_validate

from somagent.deploy.checks import pods
from somagent.deploy.checks.customs import SPECS, spec_faults
from somagent.deploy.checks.gotools import HELM, require
from somagent.deploy.checks.rendering import CHART, VALUES, Document, HelmRefused, lint, render
from somagent.deploy.checks.report import Report

KUBERNETES = ("1.31", "1.34")
"""Versions whose schemas the documents must satisfy."""
_REFUSED = {
    "no secret named": ("minimal", "secrets.existingSecret="),
    "a misspelt value": ("minimal", "api.replicaz=3"),
    "an address with a scheme": ("minimal", "temporal.address=http://temporal:7233"),
    "less time to end than the drain takes": ("minimal", "workers.terminationGracePeriodSeconds=10"),
    "a task queue that nobody polls": ("everything", "workers.roles.slm.autoscaling.queues[0].taskQueue=soma-slim"),
}


def check_chart(report: Report) -> None:
    """Renders and checks the chart."""
    helm = require(HELM, report.say)
    for name in VALUES:
        values = CHART / "ci" / f"{name}.yaml"
        try:
            lint(helm, values)
            documents = render(helm, values)
        except HelmRefused as refusal:
            report.fault(f"chart ({name})", str(refusal))
            continue
        faults = document_faults(documents)
        for fault in faults:
            report.fault(f"chart ({name})", fault)
        kinds = Counter(document["kind"] for document in documents)
        counted = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        report.say(f"chart ({name}): {len(documents)} documents: {counted}")
    for what, (name, setting) in _REFUSED.items():
        try:
            render(helm, CHART / "ci" / f"{name}.yaml", setting)
        except HelmRefused:
            continue
        report.fault("values.schema.json", f"{what} is not refused (--set {setting})")
    named = ", ".join(kind for _, kind in SPECS)
    report.say(f"chart: against Kubernetes {' and '.join(KUBERNETES)}; {named} against our own schemas of what we use")


def document_faults(documents: list[Document]) -> list[str]:
    """Everything that is wrong with what was rendered."""
    faults: list[str] = []
    names = Counter((document["kind"], document["metadata"]["name"]) for document in documents)
    faults += [f"{kind}/{name} is there {count} times" for (kind, name), count in names.items() if count > 1]
    for document in documents:
        where = f"{document['kind']}/{document['metadata']['name']}"
        faults += [f"{where}: {fault}" for fault in _schema_faults(document)]
    faults += pods.faults(documents)
    return faults


def _schema_faults(document: Document) -> list[str]:
    if (document["apiVersion"], document["kind"]) in SPECS:
        return spec_faults(document)
    faults: list[str] = []
    for version in KUBERNETES:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            path = ".".join(str(step) for step in error.path)
            faults.append(f"Kubernetes {version} refuses {path or 'it'}: {error.message}")
        except kubernetes_validate.SchemaNotFoundError:
            faults.append(f"Kubernetes {version} knows no {document['apiVersion']} {document['kind']}")
    return faults
