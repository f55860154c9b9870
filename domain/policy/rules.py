"""A tenant's policy rules: what they match in a prompt, and how much that weighs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from somagent.domain.model import Model
from somagent.domain.policy.scoring import Amount, MatchedRule

RuleName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Rule(Model):
    """What a rule matches, what it takes off the prompt's cleanliness, and whether it refuses by itself."""

    name: RuleName
    pattern: Annotated[str, Field(min_length=1, max_length=1000)]
    weight: Amount = 0.5
    hard: bool = False
    description: Annotated[str, Field(max_length=500)] = ""


@dataclass(frozen=True)
class RuleSet:
    """Rules ready to be matched."""

    EMPTY: ClassVar[RuleSet]

    rules: tuple[Rule, ...]

    @classmethod
    def parse(cls, documents: Iterable[str]) -> RuleSet:
        """From the stored JSON of each rule."""
        return cls(tuple(Rule.model_validate_json(document) for document in documents))

    def matched(self, text: str) -> tuple[MatchedRule, ...]:
        """The rules that ``text`` matches, in the order of their names."""
        lowered = text.casefold()
        return tuple(
            MatchedRule(name=rule.name, weight=rule.weight, hard=rule.hard)
            for rule in self.rules
            if rule.pattern.casefold() in lowered
        )


RuleSet.EMPTY = RuleSet(())
