"""The two plan templates that a new tenant has."""

from __future__ import annotations

from typing import Final

from somagent.domain.slm.plans import PlannedDeliverable, PlanTemplate

SOFTWARE_PROJECT: Final = PlanTemplate(
    name="software_project",
    keywords=["app", "application", "api", "service", "software", "code", "library", "website", "backend", "frontend",
              "repository", "tool", "script", "bootstrap", "prototype"],
    deliverables=[
        PlannedDeliverable(id="requirements", persona="analyst", goal="Requirements: {{ intent }}",
                           budget_tokens=2_000),
        PlannedDeliverable(id="architecture", persona="architect", goal="Architecture of {{ topic }}",
                           budget_tokens=3_000, dependencies=["requirements"]),
        PlannedDeliverable(id="implementation", persona="developer", goal="Implementation of {{ topic }}",
                           tools=["files", "git"], budget_tokens=6_000, dependencies=["architecture"]),
        PlannedDeliverable(id="tests", persona="tester", goal="Tests of {{ topic }}", tools=["files"],
                           budget_tokens=3_000, dependencies=["implementation"]),
        PlannedDeliverable(id="documentation", persona="writer", goal="Documentation of {{ topic }}", tools=["files"],
                           budget_tokens=2_000, dependencies=["implementation"]),
    ],
)  # fmt: skip

DOCUMENT_WORK: Final = PlanTemplate(
    name="document_work",
    deliverables=[
        PlannedDeliverable(id="sources", persona="researcher", goal="Sources on {{ topic }}", tools=["files", "memory"],
                           budget_tokens=2_000),
        PlannedDeliverable(id="draft", persona="writer", goal="Draft: {{ intent }}", tools=["files"],
                           budget_tokens=4_000, dependencies=["sources"]),
        PlannedDeliverable(id="review", persona="reviewer", goal="Review of the draft on {{ topic }}",
                           budget_tokens=2_000, dependencies=["draft"]),
    ],
)  # fmt: skip

DEFAULT_TEMPLATES: Final = (SOFTWARE_PROJECT, DOCUMENT_WORK)
