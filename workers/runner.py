"""The sandbox that workflow code runs in: strict, with our pure code and pydantic passed through as they are."""

from __future__ import annotations

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

PURE = (
    "somagent.domain",
    "somagent.workflows.ports",
    "somagent.workflows.attributes",
    "somagent.workflows.job_steps",
    "pydantic",
    "pydantic_core",
    "annotated_types",
    "typing_extensions",
    "rfc8785",
    "cryptography",
    "jinja2",
    "markupsafe",
    "celpy",
    "lark",
    "numpy",
    "orjson",
    "semantic_version",
)


def workflow_runner() -> SandboxedWorkflowRunner:
    """``domain`` goes through as a whole: half of it would make two copies of an enum."""
    return SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*PURE))
