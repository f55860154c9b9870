"""A definition read leniently, so that its meaning is checked even where its shape is wrong.

Faults are reported all at once: a misspelt field must not hide a cycle. The outline keeps what can be understood and
says where something could not, so that nothing is called unknown only because it was unreadable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pydantic import JsonValue

from somagent.domain.capsules.needs import implied_needs

Raw = Mapping[str, object]

MAX_CONDITIONS = 200_000
"""Characters of all conditions together: reading them takes some 15 ms a thousand."""


@dataclass(frozen=True, slots=True)
class InputOutline:
    """One readable input."""

    path: str
    name: str
    type: str
    default: JsonValue


@dataclass(frozen=True, slots=True)
class ToolOutline:
    """One readable declaration of an adapter."""

    path: str
    adapter: str
    actions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StepOutline:
    """One step; what is None could not be read, or is not there."""

    path: str
    id: str | None
    action: str | None
    params: dict[str, JsonValue] | None
    needs: tuple[str, ...] | None
    when: str | None
    save_as: str | None


@dataclass(frozen=True, slots=True)
class Outline:
    """What can be understood of a definition. ``*_complete`` says that nothing of its kind was unreadable."""

    id: str | None
    type: str | None
    version: str | None
    inputs: tuple[InputOutline, ...]
    inputs_complete: bool
    steps: tuple[StepOutline, ...]
    steps_complete: bool
    outputs: dict[str, JsonValue]
    tools: tuple[ToolOutline, ...]
    tools_complete: bool
    has_workflow: bool
    conditions_too_long: bool

    @property
    def input_types(self) -> dict[str, str]:
        """Type by input name; the first of two inputs with one name counts."""
        return {entry.name: entry.type for entry in reversed(self.inputs)}

    @property
    def step_by_id(self) -> dict[str, StepOutline]:
        """The steps by id; the first of two steps with one id counts."""
        return {step.id: step for step in reversed(self.steps) if step.id is not None}

    @property
    def needs(self) -> dict[str, tuple[str, ...]]:
        """What each named step waits for, by its needs and its references; unknown names are left out."""
        known = self.step_by_id
        needs: dict[str, tuple[str, ...]] = {}
        before: str | None = None
        for step in self.steps:
            if step.id is not None and known[step.id] is step:
                stated = ((before,) if before else ()) if step.needs is None else step.needs
                wanted = (*stated, *implied_needs(step.id, step.action, step.params or {}, step.when))
                needs[step.id] = tuple(need for need in dict.fromkeys(wanted) if need in known)
            before = step.id
        return needs


def outline(raw: Raw) -> Outline:
    """The outline of any object, however wrong."""
    inputs, inputs_complete = _inputs(raw.get("inputs"))
    steps, steps_complete = _steps(raw.get("workflow"))
    tools, tools_complete = _tools(raw.get("tools"))
    conditions_too_long = sum(len(step.when or "") for step in steps) > MAX_CONDITIONS
    if conditions_too_long:
        steps = tuple(replace(step, when=None) for step in steps)
    return Outline(
        id=_text(raw.get("id")),
        type=_text(raw.get("type")),
        version=_text(raw.get("version")),
        inputs=inputs,
        inputs_complete=inputs_complete,
        steps=steps,
        steps_complete=steps_complete,
        outputs=_object(raw.get("outputs")) or {},
        tools=tools,
        tools_complete=tools_complete,
        has_workflow=raw.get("workflow") is not None,
        conditions_too_long=conditions_too_long,
    )


def _inputs(raw: object) -> tuple[tuple[InputOutline, ...], bool]:
    if raw is None:
        return (), True
    if not isinstance(raw, list | tuple):
        return (), False
    found: list[InputOutline] = []
    for index, entry in enumerate(raw):
        name = _text(entry.get("name")) if isinstance(entry, dict) else None
        if isinstance(entry, dict) and name is not None:
            kind = _text(entry.get("type", "string")) or ""
            found.append(InputOutline(f"inputs[{index}]", name, kind, entry.get("default")))
    return tuple(found), len(found) == len(raw)


def _steps(workflow: object) -> tuple[tuple[StepOutline, ...], bool]:
    if workflow is None:
        return (), True
    steps = workflow.get("steps") if isinstance(workflow, dict) else None
    if not isinstance(steps, list | tuple):
        return (), False
    found = tuple(_step(index, entry) for index, entry in enumerate(steps))
    return found, all(step.id is not None for step in found)


def _step(index: int, entry: object) -> StepOutline:
    raw = entry if isinstance(entry, dict) else {}
    return StepOutline(
        path=f"workflow.steps[{index}]",
        id=_text(raw.get("id")),
        action=_text(raw.get("action")),
        params=_object(raw.get("params", {})),
        needs=_texts(raw.get("needs")),
        when=_text(raw.get("when")),
        save_as=_text(raw.get("save_as")),
    )


def _tools(raw: object) -> tuple[tuple[ToolOutline, ...], bool]:
    if raw is None:
        return (), True
    if not isinstance(raw, list | tuple):
        return (), False
    found: list[ToolOutline] = []
    for index, entry in enumerate(raw):
        adapter = _text(entry.get("adapter")) if isinstance(entry, dict) else None
        if isinstance(entry, dict) and adapter is not None:
            found.append(ToolOutline(f"tools[{index}]", adapter, _texts(entry.get("actions")) or ()))
    return tuple(found), len(found) == len(raw)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: object) -> tuple[str, ...] | None:
    if not isinstance(value, list | tuple):
        return None
    return tuple(item for item in value if isinstance(item, str))


def _object(value: object) -> dict[str, JsonValue] | None:
    if not isinstance(value, dict):
        return None
    return {key: item for key, item in value.items() if isinstance(key, str)}
