"""From anything that came in to a definition that can run, or to every fault that it has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice

from somagent.domain.actions import ACTIONS, ADAPTERS
from somagent.domain.capsules.definition import CapsuleDefinition, InputType
from somagent.domain.capsules.graph import cycles
from somagent.domain.capsules.inputs import fits, type_fault
from somagent.domain.capsules.links import Links
from somagent.domain.capsules.outline import MAX_CONDITIONS, InputOutline, Outline, StepOutline, outline
from somagent.domain.capsules.params import params_faults
from somagent.domain.capsules.planning import build_plan
from somagent.domain.capsules.schema import json_faults, model_faults
from somagent.domain.capsules.suggestions import shortened, suggestion
from somagent.domain.errors import Code, Fault, SomaError
from somagent.domain.versions import is_version, parse_range

MAX_FAULTS = 1000


def parse_definition(raw: object) -> CapsuleDefinition:
    """The definition that ``raw`` (parsed YAML or JSON) describes.

    Raises:
        SomaError: CAPSULE_INVALID with every fault at once, each with its path (``workflow.steps[2].params.url``).
    """
    faults = definition_faults(raw)
    if faults:
        raise _invalid(raw, faults)
    definition = CapsuleDefinition.model_validate(raw)
    build_plan(definition)
    return definition


def definition_faults(raw: object) -> tuple[Fault, ...]:
    """Every fault of ``raw``, in the order of the document's parts; none where it can run."""
    if not isinstance(raw, Mapping):
        return (Fault("", "wrong_type", "a capsule definition is an object with id, version, summary, type, ..."),)
    unsafe = list(json_faults(raw))
    if any(fault.code == "too_deep" for fault in unsafe):
        return tuple(unsafe[:MAX_FAULTS])
    found = chain(unsafe, model_faults(CapsuleDefinition, raw), _meaning(outline(raw)))
    return tuple(dict.fromkeys(islice(found, MAX_FAULTS)))  # two checks can see the same fault


def _meaning(sketch: Outline) -> Iterator[Fault]:
    yield from _header(sketch)
    yield from _inputs(sketch.inputs)
    yield from _tools(sketch)
    links = Links(sketch)
    yield from links.outputs()
    yield from _names(sketch.steps)
    yield from _order(sketch)
    for step in sketch.steps:
        yield from _action(step, sketch)
        yield from links.step(step)


def _header(sketch: Outline) -> Iterator[Fault]:
    if sketch.version is not None and not is_version(sketch.version):
        yield Fault("version", "bad_format", "must be a semantic version such as 1.2.0 (semver.org)")
    if not sketch.has_workflow and sketch.type != "planner":
        yield Fault("workflow", "missing_field", "is required; only a planner can do without steps of its own")
    if sketch.type == "composite" and sketch.steps and all(step.action != "capsule.run" for step in sketch.steps):
        detail = "a composite names its children: at least one step must be capsule.run"
        yield Fault("workflow.steps", "composite_without_child", detail)


def _inputs(inputs: tuple[InputOutline, ...]) -> Iterator[Fault]:
    seen: set[str] = set()
    for entry in inputs:
        if entry.name in seen:
            yield Fault(f"{entry.path}.name", "duplicate", f"another input is called {entry.name!r} already")
        seen.add(entry.name)
        wanted = entry.type if entry.type in InputType._value2member_map_ else None
        if wanted is not None and entry.default is not None and not fits(entry.default, InputType(wanted)):
            yield type_fault(f"{entry.path}.default", entry.default, InputType(wanted))


def _tools(sketch: Outline) -> Iterator[Fault]:
    for tool in sketch.tools:
        if tool.adapter not in ADAPTERS:
            yield Fault(f"{tool.path}.adapter", "unknown_adapter", _no_such("adapter", tool.adapter, ADAPTERS))
            continue
        known = [spec.verb for spec in ACTIONS.values() if spec.adapter == tool.adapter]
        for index, verb in enumerate(tool.actions):
            if verb not in known:
                detail = _no_such(f"action of {tool.adapter}", verb, known)
                yield Fault(f"{tool.path}.actions[{index}]", "unknown_action", detail)


def _names(steps: tuple[StepOutline, ...]) -> Iterator[Fault]:
    seen: set[str] = set()
    files: set[str] = set()
    for step in steps:
        if step.id is not None and step.id in seen:
            yield Fault(f"{step.path}.id", "duplicate", f"another step is called {step.id!r} already")
        if step.save_as is not None and step.save_as in files:
            yield Fault(f"{step.path}.save_as", "duplicate", f"another step saves as {step.save_as!r} already")
        seen.add(step.id or "")
        files.add(step.save_as or "")


def _order(sketch: Outline) -> Iterator[Fault]:
    known = sketch.step_by_id
    if sketch.steps_complete:
        for step in sketch.steps:
            for index, need in enumerate(step.needs or ()):
                if need not in known:
                    yield Fault(f"{step.path}.needs[{index}]", "unknown_step", _no_such("step", need, list(known)))
    if sketch.conditions_too_long:
        detail = f"all conditions together have more than {MAX_CONDITIONS:,} characters; shorten them"
        yield Fault("workflow.steps", "conditions_too_long", detail)
    for cycle in cycles(sketch.needs):
        if len(cycle) == 1:
            detail = f"step {cycle[0]!r} waits for itself"
        else:
            detail = f"steps wait for one another: {' → '.join((*cycle, cycle[0]))}"
        yield Fault(f"{known[cycle[0]].path}.needs", "dag_cycle", detail)


def _action(step: StepOutline, sketch: Outline) -> Iterator[Fault]:
    if step.action is None:
        return
    spec = ACTIONS.get(step.action)
    if spec is None:
        yield Fault(f"{step.path}.action", "unknown_action", _no_such("action", step.action, list(ACTIONS)))
        return
    if sketch.tools_complete and all(tool.adapter != spec.adapter for tool in sketch.tools):
        detail = f"uses the adapter {spec.adapter!r}, which tools does not declare"
        yield Fault(f"{step.path}.action", "tool_undeclared", detail)
    if step.params is None:
        return
    yield from params_faults(spec, step.params, f"{step.path}.params")
    if step.action == "capsule.run":
        yield from _child(step, sketch)


def _child(step: StepOutline, sketch: Outline) -> Iterator[Fault]:
    params = step.params or {}
    version = params.get("version")
    if isinstance(version, str) and "{{" not in version:
        try:
            parse_range(version)
        except SomaError as error:
            yield Fault(f"{step.path}.params.version", "bad_format", error.detail)
    if sketch.id is not None and params.get("capsule_id") == sketch.id:
        yield Fault(f"{step.path}.params.capsule_id", "capsule_recursion", "the capsule would run itself for ever")


def _no_such(kind: str, name: str, known: Iterable[str]) -> str:
    return f"there is no {kind} {shortened(name)!r}{suggestion(name, known)}"


def _invalid(raw: object, faults: tuple[Fault, ...]) -> SomaError:
    name = raw.get("id") if isinstance(raw, Mapping) else None
    which = f" {name[:128]}" if isinstance(name, str) else ""
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    return SomaError(Code.CAPSULE_INVALID, f"The capsule{which} cannot run: it has {count}; see errors.", errors=faults)
