"""Schemas of the custom resources that the chart makes: what we use of them, from their projects' references."""

from __future__ import annotations

from typing import Any, Final

from jsonschema import Draft202012Validator

_TEXT: Final = {"type": "string", "minLength": 1}
_TEXTS: Final = {"type": "object", "additionalProperties": {"type": "string"}}
_RELABELINGS: Final = {
    "type": "array",
    "items": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "sourceLabels": {"type": "array", "items": _TEXT},
            "targetLabel": _TEXT,
            "regex": {"type": "string"},
            "replacement": {"type": "string"},
            "separator": {"type": "string"},
            "action": {"enum": ["replace", "keep", "drop", "labeldrop", "labelkeep", "labelmap"]},
        },
    },
}
_TEMPORAL_TRIGGER: Final = {
    "type": "object",
    "additionalProperties": False,
    "required": ["endpoint", "taskQueue", "namespace", "targetQueueSize"],
    "properties": {
        "endpoint": {"type": "string", "pattern": "^[^:/]+:[0-9]+$"},
        "namespace": _TEXT,
        "taskQueue": _TEXT,
        "targetQueueSize": {"type": "string", "pattern": "^[0-9]+$"},
        "activationTargetQueueSize": {"type": "string", "pattern": "^[0-9]+$"},
        "queueTypes": {"enum": ["workflow", "activity", "workflow,activity"]},
        "workerDeploymentName": _TEXT,
        "workerDeploymentBuildId": _TEXT,
    },
}
_SCALED_OBJECT: Final = {
    "type": "object",
    "additionalProperties": False,
    "required": ["scaleTargetRef", "triggers"],
    "properties": {
        "scaleTargetRef": {"type": "object", "required": ["name"], "properties": {"name": _TEXT}},
        "pollingInterval": {"type": "integer", "minimum": 1},
        "cooldownPeriod": {"type": "integer", "minimum": 0},
        "minReplicaCount": {"type": "integer", "minimum": 0},
        "maxReplicaCount": {"type": "integer", "minimum": 1},
        "triggers": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["type", "metadata"],
                "additionalProperties": False,
                "properties": {
                    "type": _TEXT,
                    "name": _TEXT,
                    "metadata": _TEXTS,
                    "metricType": {"enum": ["AverageValue", "Value", "Utilization"]},
                    "authenticationRef": {"type": "object", "required": ["name"], "properties": {"name": _TEXT}},
                },
                "if": {"properties": {"type": {"const": "temporal"}}},
                "then": {"properties": {"metadata": _TEMPORAL_TRIGGER}},
            },
        },
    },
}
_SERVICE_MONITOR: Final = {
    "type": "object",
    "additionalProperties": False,
    "required": ["selector", "endpoints"],
    "properties": {
        "jobLabel": _TEXT,
        "selector": {"type": "object", "required": ["matchLabels"], "properties": {"matchLabels": _TEXTS}},
        "endpoints": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["port"],
                "properties": {
                    "port": _TEXT,
                    "path": {"type": "string", "pattern": "^/"},
                    "interval": {"type": "string", "pattern": "^[0-9]+(ms|s|m)$"},
                    "relabelings": _RELABELINGS,
                    "metricRelabelings": _RELABELINGS,
                },
            },
        },
    },
}
_PROMETHEUS_RULE: Final = {
    "type": "object",
    "additionalProperties": False,
    "required": ["groups"],
    "properties": {
        "groups": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["name", "rules"],
                "properties": {
                    "name": _TEXT,
                    "interval": _TEXT,
                    "rules": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "additionalProperties": False,
                            "required": ["alert", "expr"],
                            "properties": {
                                "alert": _TEXT,
                                "expr": _TEXT,
                                "for": _TEXT,
                                "labels": _TEXTS,
                                "annotations": _TEXTS,
                            },
                        },
                    },
                },
            },
        }
    },
}
SPECS: Final = {
    ("keda.sh/v1alpha1", "ScaledObject"): _SCALED_OBJECT,
    ("monitoring.coreos.com/v1", "ServiceMonitor"): _SERVICE_MONITOR,
    ("monitoring.coreos.com/v1", "PrometheusRule"): _PROMETHEUS_RULE,
}


def spec_faults(document: dict[str, Any]) -> list[str]:
    """What is wrong with the ``spec`` of a custom resource that stands in :data:`SPECS`."""
    schema = SPECS[document["apiVersion"], document["kind"]]
    return [
        f"spec.{'.'.join(map(str, error.absolute_path))}: {error.message}"
        for error in Draft202012Validator(schema).iter_errors(document.get("spec"))
    ]
