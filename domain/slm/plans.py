"""Plans from templates: the template whose keywords an intent holds, with the intent's own words in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import Field

from somagent.domain.model import JsonObject, Model
from somagent.domain.slm.blocks import BlockKind, blocks
from somagent.domain.slm.keywords import keywords
from somagent.domain.slm.words import terms, words

_SLUG: Final = re.compile(r"[^a-z0-9]+")
_DEFAULT_TOKENS: Final = 1_000


class PlannedDeliverable(Model):
    """One piece of work of a plan: contract section 4's deliverable."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    persona: str
    goal: str = ""
    capsule_id: str | None = None
    inputs: JsonObject | None = None
    tools: list[str] = Field(default_factory=list)
    budget_tokens: Annotated[int, Field(ge=1)] = _DEFAULT_TOKENS
    dependencies: list[str] = Field(default_factory=list)


class PlanTemplate(Model):
    """Deliverables to use where an intent holds one of ``keywords``; without keywords, where no other fits.

    In goals ``{{ intent }}`` stands for the intent and ``{{ topic }}`` for its best keyword, both as written.
    """

    name: Annotated[str, Field(min_length=1)]
    keywords: list[str] = Field(default_factory=list)
    deliverables: Annotated[list[PlannedDeliverable], Field(min_length=1)]


class Plan(Model):
    """A plan and where it comes from: the template and the keywords that chose it."""

    template: str
    matched: list[str]
    deliverables: list[PlannedDeliverable]


def plan_for(intent: str, templates: Sequence[PlanTemplate], most: int | None = None) -> Plan | None:
    """The plan for ``intent``: its own list where it lists two deliverables or more, else the best template's.

    A template scores the number of its keywords that the intent holds, the earlier template winning a tie.

    Args:
        intent: what is wanted, in the words of whoever wants it.
        templates: what may be planned.
        most: at most so many deliverables; those that others wait for come first, so what is left still holds.

    Returns:
        None where the intent lists nothing and no template fits: nothing is made up.
    """
    listed = [block.text for block in blocks(intent) if block.kind is BlockKind.ITEM]
    if len(listed) >= 2:
        plan = Plan(template="the intent's own list", matched=[], deliverables=_from_list(listed))
    else:
        chosen = _best(intent, templates)
        if chosen is None:
            return None
        plan = _filled(intent, *chosen)
    return plan if most is None else plan.model_copy(update={"deliverables": plan.deliverables[:most]})


def _best(intent: str, templates: Sequence[PlanTemplate]) -> tuple[PlanTemplate, list[str]] | None:
    held = set(terms(intent)) | set(words(intent))
    scored = [(template, [word for word in template.keywords if _holds(held, word)]) for template in templates]
    matching = [pair for pair in scored if pair[1]] or [pair for pair in scored if not pair[0].keywords]
    return max(matching, key=lambda pair: len(pair[1]), default=None)


def _holds(held: set[str], keyword: str) -> bool:
    wanted = terms(keyword) or words(keyword)
    return bool(wanted) and held.issuperset(wanted)


def _filled(intent: str, template: PlanTemplate, matched: list[str]) -> Plan:
    topic = next(iter(keywords(intent, 1)), intent.strip())
    values = {"{{ intent }}": intent.strip(), "{{ topic }}": topic}
    deliverables = [
        item.model_copy(update={"goal": _substituted(item.goal or "{{ intent }}", values)})
        for item in _in_order(template.deliverables)
    ]
    return Plan(template=template.name, matched=matched, deliverables=deliverables)


def _substituted(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\{\{ (?:intent|topic) \}\}", lambda match: values[match.group()], text)


def _in_order(deliverables: Sequence[PlannedDeliverable]) -> list[PlannedDeliverable]:
    """What others wait for first; the given order otherwise. What waits in a circle keeps its place at the end."""
    ordered: list[PlannedDeliverable] = []
    placed: set[str] = set()
    waiting = list(deliverables)
    while waiting:
        ready = next((item for item in waiting if placed.issuperset(item.dependencies)), waiting[0])
        waiting.remove(ready)
        placed.add(ready.id)
        ordered.append(ready)
    return ordered


def _from_list(items: Sequence[str]) -> list[PlannedDeliverable]:
    taken: set[str] = set()
    found = []
    for number, item in enumerate(items, 1):
        name = _SLUG.sub("-", " ".join(words(item)[:4])).strip("-")[:48] or f"item-{number}"
        if name in taken:
            name = f"{name}-{number}"
        taken.add(name)
        found.append(PlannedDeliverable(id=name, persona="worker", goal=item))
    return found
