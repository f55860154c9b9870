"""The rules that rendered documents are held against: each sees the fault that it is there for."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import yaml

from somagent.deploy.checks.chart import document_faults

Documents = list[dict[str, Any]]

_WORKER = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {role}
  labels: {{app.kubernetes.io/component: worker, somagent/role: {role}}}
spec:
  selector: {{matchLabels: {{somagent/role: {role}}}}}
  template:
    metadata: {{labels: {{somagent/role: {role}}}}}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: 45
      securityContext: {{runAsNonRoot: true}}
      containers:
        - name: worker
          image: somagent:0.1.0
          args: [worker, --role, {role}]
          env: [{{name: SOMAGENT_LOG_LEVEL, value: info}}]
          ports: [{{name: metrics, containerPort: 9090}}]
          startupProbe: {{httpGet: {{path: /health, port: metrics}}}}
          livenessProbe: {{httpGet: {{path: /health, port: metrics}}}}
          readinessProbe: {{httpGet: {{path: /health, port: metrics}}}}
          resources: {{limits: {{memory: 1Gi}}}}
          securityContext: {{readOnlyRootFilesystem: true, allowPrivilegeEscalation: false}}
          volumeMounts: [{{name: tmp, mountPath: /tmp}}]
      volumes: [{{name: tmp, emptyDir: {{}}}}]
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {{name: {role}, labels: {{somagent/role: {role}}}}}
spec:
  scaleTargetRef: {{name: {role}}}
  triggers:
    - type: temporal
      metadata: {{endpoint: "t:7233", namespace: default, taskQueue: {queue}, targetQueueSize: "20"}}
"""
_SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: workers}
spec: {clusterIP: None, selector: {somagent/role: slm}, ports: [{name: metrics, port: 9090}]}
"""


@pytest.fixture
def documents() -> Documents:
    """All roles, without a fault; index 0 is the workflow workers' Deployment, 1 its ScaledObject."""
    roles = {"workflows": "soma-workflows", "slm": "soma-slm", "activities": "", "relay": ""}
    found: Documents = []
    for role, queue in roles.items():
        deployment, scaled = yaml.safe_load_all(_WORKER.format(role=role, queue=queue or "none"))
        found += [deployment, scaled] if queue else [deployment]
    return [*found, yaml.safe_load(_SERVICE)]


def test_documents_without_a_fault_are_let_through(documents: Documents) -> None:
    assert document_faults(documents) == []


def _pod(documents: Documents) -> dict[str, Any]:
    pod: dict[str, Any] = documents[0]["spec"]["template"]["spec"]
    return pod


def _container(documents: Documents) -> dict[str, Any]:
    container: dict[str, Any] = _pod(documents)["containers"][0]
    return container


_FAULTS: dict[str, Callable[[Documents], object]] = {
    "Kubernetes 1.31 refuses": lambda d: d[0]["spec"].update(replicaz=2),
    "may run as root": lambda d: _pod(d).pop("securityContext"),
    "cluster's token": lambda d: _pod(d).pop("automountServiceAccountToken"),
    "service links": lambda d: _pod(d).pop("enableServiceLinks"),
    "may write to its image": lambda d: _container(d).pop("securityContext"),
    "no limit of memory": lambda d: _container(d).pop("resources"),
    "is no volume of the pod": lambda d: _pod(d).pop("volumes"),
    "is no setting": lambda d: _container(d)["env"].append({"name": "SOMAGENT_LOGLEVEL", "value": "info"}),
    "'debug', 'info'": lambda d: _container(d)["env"][0].update(value="loud"),
    "twice": lambda d: _container(d)["env"].append({"name": "SOMAGENT_LOG_LEVEL", "value": "info"}),
    "before it has drained": lambda d: _pod(d).update(terminationGracePeriodSeconds=15),
    "has no livenessProbe": lambda d: _container(d).pop("livenessProbe"),
    "asks a port": lambda d: _container(d)["ports"][0].update(name="http"),
    "somagent worker --role": lambda d: _container(d).update(args=["worker", "--role", "workflow"]),
    "is not deployed": lambda d: d[0]["metadata"]["labels"].pop("somagent/role"),
    "polls ['soma-workflows']": lambda d: d[1]["spec"]["triggers"][0]["metadata"].update(taskQueue="soma-workflow"),
    "targetQueueSize": lambda d: d[1]["spec"]["triggers"][0]["metadata"].update(targetQueueSize=20),
    "which is not there": lambda d: d[1]["spec"]["scaleTargetRef"].update(name="workflow"),
    "fixed replicas": lambda d: d[0]["spec"].update(replicas=2),
    "selects no pod": lambda d: d[-1]["spec"]["selector"].update({"somagent/role": "slim"}),
    "is there 2 times": lambda d: d.append(deepcopy(d[-1])),
}


@pytest.mark.parametrize("seen", _FAULTS)
def test_faults_are_seen(documents: Documents, seen: str) -> None:
    _FAULTS[seen](documents)
    found = document_faults(documents)
    assert any(seen in fault for fault in found), found
