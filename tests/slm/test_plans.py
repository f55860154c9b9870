"""Plans: from the intent's own list or a template, in the intent's words, fit to run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from somagent.domain.slm.default_templates import DEFAULT_TEMPLATES, DOCUMENT_WORK, SOFTWARE_PROJECT
from somagent.domain.slm.plans import PlannedDeliverable, PlanTemplate, plan_for


def test_keywords_choose_the_template() -> None:
    plan = plan_for("Build a REST API and backends for invoices", DEFAULT_TEMPLATES)
    assert plan is not None
    assert (plan.template, plan.matched) == ("software_project", ["api", "backend"])
    assert plan.deliverables[0].goal == "Requirements: Build a REST API and backends for invoices"


def test_template_without_keywords_is_for_the_rest() -> None:
    plan = plan_for("A market study on e-bikes", DEFAULT_TEMPLATES)
    assert plan is not None
    assert plan.template == "document_work"


def test_own_list_of_the_intent_is_the_plan() -> None:
    plan = plan_for("Do this:\n1. Draw the logo\n2. Print the flyers\n3. Draw the logo", DEFAULT_TEMPLATES)
    assert plan is not None
    assert [(item.id, item.goal) for item in plan.deliverables] == [
        ("draw-the-logo", "Draw the logo"),
        ("print-the-flyers", "Print the flyers"),
        ("draw-the-logo-3", "Draw the logo"),
    ]


def test_nothing_fits_nothing_is_made_up() -> None:
    assert plan_for("A market study", [SOFTWARE_PROJECT]) is None
    assert plan_for("", []) is None


def test_cut_plan_still_holds() -> None:
    shuffled = PlanTemplate(name="t", deliverables=list(reversed(SOFTWARE_PROJECT.deliverables)))
    for most in range(1, 6):
        plan = plan_for("x", [shuffled], most)
        assert plan is not None
        ids = [item.id for item in plan.deliverables]
        assert len(ids) == most
        assert all(needed in ids for item in plan.deliverables for needed in item.dependencies)


@given(st.text(min_size=1, max_size=300))
def test_any_intent_gives_a_sound_plan(intent: str) -> None:
    plan = plan_for(intent, DEFAULT_TEMPLATES)
    assert plan is not None
    ids = [item.id for item in plan.deliverables]
    assert len(set(ids)) == len(ids)
    for place, item in enumerate(plan.deliverables):
        assert set(item.dependencies) <= set(ids[:place])
        PlannedDeliverable.model_validate(item.model_dump())


def test_braces_of_an_intent_are_text() -> None:
    plan = plan_for("Report on {{ topic }} and {{ intent }}", [DOCUMENT_WORK])
    assert plan is not None
    assert plan.deliverables[1].goal == "Draft: Report on {{ topic }} and {{ intent }}"


def test_template_without_deliverables_is_refused() -> None:
    with pytest.raises(ValidationError):
        PlanTemplate(name="empty", deliverables=[])
