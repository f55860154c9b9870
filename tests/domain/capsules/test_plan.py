"""Plans and segments: never before its needs, everything settles, segments are maximal."""

from __future__ import annotations

import time
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from somagent.domain.actions import Weight
from somagent.domain.capsules.graph import cycles, topological_order
from somagent.domain.capsules.plan import JobPlan, PlannedStep, ready, segment, worst_case_seconds
from somagent.domain.capsules.planning import build_plan
from somagent.domain.capsules.schedule import Schedule
from somagent.domain.capsules.validation import definition_faults, parse_definition
from somagent.domain.errors import Code, SomaError
from somagent.tests.domain.capsules.examples import Raw, capsule, template_step, ticket_digest

_KINDS: list[Raw] = [
    {"action": "text.template", "params": {"template": "x"}},
    {"action": "files.read", "params": {"path": "a"}},
    {"action": "http.request", "params": {"url": "https://example.org"}},
    {"action": "shell.execute", "params": {"command": ["true"]}},
    {"action": "human.approve", "params": {"question": "?"}},
    {"action": "text.template", "params": {"template": "x"}, "requires_approval": True},
]


@st.composite
def _plans(draw: st.DrawFn) -> JobPlan:
    """Any DAG of any steps, written down in any order."""
    size = draw(st.integers(1, 14))
    steps: list[Raw] = []
    for number in range(size):
        needs = draw(st.lists(st.integers(0, number - 1), unique=True, max_size=4)) if number else []
        kind = draw(st.sampled_from(_KINDS))
        steps.append({"id": f"s{number}", "needs": [f"s{need}" for need in needs], **kind})
    return build_plan(parse_definition(capsule(draw(st.permutations(steps)))))


@given(_plans(), st.randoms(use_true_random=False))
def test_whatever_settles_first_everything_settles_and_nothing_starts_before_its_needs(
    plan: JobPlan, random: Random
) -> None:
    steps = {step.id: step for step in plan.steps}
    schedule = Schedule(plan)
    settled: set[str] = set()
    running: dict[int, tuple[str, ...]] = {}
    ticket = 0
    while not schedule.finished(settled):
        busy = {step for unit in running.values() for step in unit}
        for unit in schedule.units(settled, busy):
            done = set(settled)
            for step in unit.steps:
                assert step not in busy
                assert done.issuperset(steps[step].needs)
                done.add(step)
            ticket += 1
            running[ticket] = unit.steps
        assert running, "nothing runs and not everything has settled"
        chosen = random.choice(sorted(running))
        settled.update(running.pop(chosen))
    assert settled == set(steps)


@given(_plans(), st.data())
def test_segments_are_maximal_and_hold_light_steps_only(plan: JobPlan, data: st.DataObject) -> None:
    order = [step.id for step in plan.steps]
    settled: set[str] = set()
    for step in plan.steps:
        if settled.issuperset(step.needs) and data.draw(st.booleans()):
            settled.add(step.id)
    open_steps = list(ready(plan, settled))
    running = set(data.draw(st.lists(st.sampled_from(open_steps), unique=True))) if open_steps else set()
    found = segment(plan, settled, running)
    assert list(found) == sorted(found, key=order.index)
    inside = settled | set(found)
    for step in plan.steps:
        if step.id in found:
            assert step.joins_segment
            assert step.id not in settled | running
        elif step.joins_segment and step.id not in settled | running:
            assert not inside.issuperset(step.needs), f"{step.id} could have joined"


@given(st.dictionaries(st.integers(0, 9), st.lists(st.integers(0, 9), max_size=4), max_size=10))
def test_either_there_is_an_order_of_all_steps_or_a_cycle(graph: dict[int, list[int]]) -> None:
    needs = {str(step): [str(need) for need in wanted if need in graph] for step, wanted in graph.items()}
    order, circles = topological_order(needs), cycles(needs)
    assert (len(order) == len(needs)) == (not circles)
    position = {step: index for index, step in enumerate(order)}
    assert all(position[need] < position[step] for step in order for need in needs[step])
    for circle in circles:
        following = [*circle[1:], circle[0]]
        assert all(after in needs[before] for before, after in zip(circle, following, strict=True))


def test_the_plan_of_the_contracts_example() -> None:
    plan = build_plan(parse_definition(ticket_digest()))
    assert [step.id for step in plan.steps] == ["list", "read", "sum", "write", "count"]
    assert [step.needs for step in plan.steps] == [(), ("list",), ("read",), ("sum",), ("sum",)]
    asked = plan.steps[2]
    assert (asked.weight, asked.max_attempts, asked.backoff_seconds, asked.timeout_seconds) == (Weight.SLM, 3, 2.0, 600)
    assert segment(plan, set()) == ("list", "read")
    assert segment(plan, {"list", "read"}) == ()
    assert ready(plan, {"list", "read"}) == ("sum",)
    assert segment(plan, {"list", "read", "sum"}) == ("write", "count")
    assert worst_case_seconds(plan, ("list", "read")) == pytest.approx(0.1)


def test_a_plan_travels_without_loss_and_without_defaults() -> None:
    plan = build_plan(parse_definition(ticket_digest()))
    written = plan.model_dump_json()
    assert JobPlan.model_validate_json(written) == plan
    assert '{"id":"list","action":"files.list"}' in written


def test_a_step_waits_for_what_it_refers_to() -> None:
    last = template_step("c", [], "{{ steps.a.output.text }}")
    plan = build_plan(parse_definition(capsule([template_step("a"), template_step("b"), last])))
    assert {step.id: step.needs for step in plan.steps} == {"a": (), "b": ("a",), "c": ("a",)}


def test_needs_that_others_imply_are_left_out() -> None:
    steps = [template_step(f"s{number}", [f"s{before}" for before in range(number)]) for number in range(6)]
    plan = build_plan(parse_definition(capsule(steps)))
    assert [step.needs for step in plan.steps] == [(), *((f"s{number}",) for number in range(5))]


def test_what_cannot_tell_a_repeat_apart_is_tried_once_unless_the_capsule_says_so() -> None:
    once = {"id": "a", "action": "shell.execute", "params": {"command": ["true"]}}
    often = {**once, "id": "b", "retry": {"max_attempts": 4}}
    plan = build_plan(parse_definition(capsule([once, often, template_step("c")])))
    assert [step.max_attempts for step in plan.steps] == [1, 4, 3]


def test_a_thousand_steps_with_long_names_fit_into_a_payload_and_are_cut_quickly() -> None:
    names = [f"step_{number:04d}_{'x' * 54}" for number in range(1000)]
    steps = [template_step(name) for name in names]
    began = time.process_time()
    plan = build_plan(parse_definition(capsule(steps)))
    assert len(segment(plan, set())) == 1000
    assert len(plan.model_dump_json()) < 250_000
    assert time.process_time() - began < 20  # seconds of a slow machine; a quadratic walk would take minutes


def test_a_plan_that_fits_into_no_payload_is_a_fault() -> None:
    first = [template_step(f"a{number}", []) for number in range(300)]
    second = [template_step(f"b{number}", [step["id"] for step in first]) for number in range(300)]
    assert not definition_faults(capsule([*first, *second]))
    with pytest.raises(SomaError, match="too large") as refused:
        parse_definition(capsule([*first, *second]))
    assert refused.value.code is Code.CAPSULE_INVALID
    assert refused.value.errors[0].code == "plan_too_large"


def test_a_planned_step_names_itself_for_operators() -> None:
    assert PlannedStep(id="read", action="files.read").summary == "read · files.read"
