"""A run without effects: every step's params are made up from typed samples and held against what its action takes."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, TemplateError, meta, nodes
from pydantic import JsonValue

from somagent.domain.actions import action
from somagent.domain.capsules.cel import compiled
from somagent.domain.capsules.cel_limits import CelError
from somagent.domain.capsules.conditions import condition_references
from somagent.domain.capsules.definition import CapsuleDefinition, Step
from somagent.domain.capsules.fields import INPUT_SAMPLES, UNKNOWN, NoSuchFieldError, output_type, sample
from somagent.domain.capsules.params import params_faults
from somagent.domain.capsules.references import Reference, alone
from somagent.domain.capsules.templates import bound

_READ_ONLY = ("shared", "attachments")
_LOCAL_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})
_OUR_VARIABLE = re.compile(r"soma_reference_\d+$")


@dataclass(frozen=True, slots=True)
class Trouble:
    """What would go wrong; ``certain`` where no input can avoid it."""

    path: str
    code: str
    detail: str
    certain: bool


def dry_run(definition: CapsuleDefinition) -> Iterator[Trouble]:
    """What would go wrong in a run of a valid definition, as far as types and literal values tell."""
    samples = _Samples(definition)
    for index, step in enumerate(definition.steps):
        path = f"workflow.steps[{index}]"
        yield from _types(step, f"{path}.params", samples)
        yield from _condition(step, f"{path}.when", samples)
        yield from _template(step, f"{path}.params.template")
        yield from _places(step, f"{path}.params")
        yield from _address(step, f"{path}.params.url")


class _Samples:
    """A sample for each reference, or UNKNOWN."""

    def __init__(self, definition: CapsuleDefinition) -> None:
        self._inputs = {spec.name: spec for spec in definition.inputs}
        self._steps = {step.id: step for step in definition.steps}

    def value(self, reference: Reference) -> Any:
        if reference.root == "inputs":
            spec = self._inputs.get(reference.name)
            return UNKNOWN if spec is None or reference.path else INPUT_SAMPLES[spec.type]
        step = self._steps.get(reference.name)
        if step is None:
            return UNKNOWN
        try:
            return sample(output_type(action(step.action), reference.path))
        except NoSuchFieldError:
            return UNKNOWN

    def may_be_null(self, reference: Reference) -> bool:
        spec = self._inputs.get(reference.name) if reference.root == "inputs" else None
        return spec is not None and not spec.required and spec.default is None


def _types(step: Step, path: str, samples: _Samples) -> Iterator[Trouble]:
    """Params of a type that their action does not take, whatever the inputs are."""
    given: dict[str, Reference] = {}
    filled = {name: _filled(value, f"{path}.{name}", samples, given) for name, value in step.params.items()}
    for fault in params_faults(action(step.action), filled, path):
        reference = given.get(fault.path)
        if fault.code != "wrong_type" or reference is None:
            continue
        is_text = isinstance(samples.value(reference), str)
        hint = "; it passes only where the text is one" if is_text else ""
        detail = f"{reference.text} does not fit: {fault.detail}{hint}"
        yield Trouble(fault.path, "type_mismatch", detail, certain=not is_text)
    yield from _nulls(step, path, samples, given)


def _nulls(step: Step, path: str, samples: _Samples, given: Mapping[str, Reference]) -> Iterator[Trouble]:
    """Optional inputs without a default that a step cannot do without."""
    optional = {place: reference for place, reference in given.items() if samples.may_be_null(reference)}
    if not optional:
        return
    nulled = {name: _nulled(value, f"{path}.{name}", optional) for name, value in step.params.items()}
    for fault in params_faults(action(step.action), nulled, path):
        if fault.path in optional and fault.code == "wrong_type":
            name = optional[fault.path].name
            detail = f"input {name!r} is optional without a default, and this step fails without it"
            yield Trouble(fault.path, "null_possible", detail, certain=False)


def _filled(value: JsonValue, path: str, samples: _Samples, given: dict[str, Reference]) -> JsonValue:
    if isinstance(value, list):
        return [_filled(item, f"{path}[{index}]", samples, given) for index, item in enumerate(value)]
    if isinstance(value, dict):
        return {name: _filled(item, f"{path}.{name}", samples, given) for name, item in value.items()}
    reference = alone(value) if isinstance(value, str) else None
    if reference is None:
        return value
    given[path] = reference
    made: Any = samples.value(reference)
    return value if made is UNKNOWN else made


def _nulled(value: JsonValue, path: str, optional: Mapping[str, Reference]) -> JsonValue:
    if isinstance(value, list):
        return [_nulled(item, f"{path}[{index}]", optional) for index, item in enumerate(value)]
    if isinstance(value, dict):
        return {name: _nulled(item, f"{path}.{name}", optional) for name, item in value.items()}
    return None if path in optional else value


def _condition(step: Step, path: str, samples: _Samples) -> Iterator[Trouble]:
    """A condition that yields no truth value with samples of the right types."""
    if step.when is None:
        return
    inputs: dict[str, JsonValue] = {}
    steps: dict[str, JsonValue] = {}
    for reference, tested in condition_references(step.when):
        whole = Reference(reference.root, reference.name, ())
        made = samples.value(whole)
        if tested or made is UNKNOWN or samples.value(reference) is UNKNOWN:
            return
        if reference.root == "inputs":
            inputs[reference.name] = made
        else:
            steps[reference.name] = {"output": made}
    try:
        value = compiled(step.when).value({"inputs": inputs, "steps": steps})
    except CelError as error:
        yield Trouble(path, "condition_doubtful", f"with sample values it fails: {error}", certain=False)
        return
    if not isinstance(value, bool):
        yield Trouble(path, "condition_no_truth", "yields a value that is not true or false; compare it", certain=True)


def _template(step: Step, path: str) -> Iterator[Trouble]:
    """Names that a template uses and nobody gives it."""
    template, values = step.params.get("template"), step.params.get("values", {})
    if step.action != "text.template" or not isinstance(template, str) or not isinstance(values, dict):
        return
    try:
        parsed = Environment(autoescape=False).parse(bound(template).source)  # noqa: S701  parsed only, never rendered
    except TemplateError:
        return
    assigned = {name.name for name in parsed.find_all(nodes.Name) if name.ctx != "load"}
    for name in sorted(meta.find_undeclared_variables(parsed) - {"inputs", "steps", *values} - assigned):
        if not _OUR_VARIABLE.match(name):
            detail = f"the template uses {name!r}, which is not among its values"
            yield Trouble(path, "template_name_unknown", detail, certain=False)


def _places(step: Step, path: str) -> Iterator[Trouble]:
    """Literal paths that leave the job's folder."""
    place = step.params.get("path")
    if not isinstance(place, str) or "{{" in place:
        return
    parts = [part for part in place.split("/") if part not in ("", ".")]
    if place.startswith("/") or ".." in parts:
        detail = f"{place[:200]!r} leaves the job's folder and will be refused (path_outside_workspace)"
        yield Trouble(f"{path}.path", "path_outside_workspace", detail, certain=False)
    elif parts and parts[0] in _READ_ONLY and step.action in ("files.write", "git.init", "git.clone", "git.commit"):
        detail = f"{parts[0]}/ is read-only; write in the job's own folder"
        yield Trouble(f"{path}.path", "path_outside_workspace", detail, certain=False)


def _address(step: Step, path: str) -> Iterator[Trouble]:
    """Literal addresses that will be refused unless the operator allows them."""
    url = step.params.get("url")
    if step.action not in ("http.request", "git.clone") or not isinstance(url, str) or "{{" in url:
        return
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        yield Trouble(path, "egress_refused", f"{url[:200]!r} is no address", certain=False)
        return
    if parts.scheme not in ("http", "https") or not host:
        yield Trouble(path, "egress_refused", f"{url[:200]!r} is no http or https address", certain=False)
    elif host.lower() in _LOCAL_NAMES or _is_private(host):
        detail = f"{host} is not public; the request is refused unless the operator allows it"
        yield Trouble(path, "egress_refused", detail, certain=False)


def _is_private(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return False
