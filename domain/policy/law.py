"""What an act is judged by: the constitution in force, the tenant's rules, and how strict the mode is."""

from __future__ import annotations

from dataclasses import dataclass

from somagent.domain.policy.constitution import Constitution
from somagent.domain.policy.rules import RuleSet
from somagent.domain.policy.scoring import Signals, Verdict, judge


@dataclass(frozen=True, slots=True)
class Law:
    """A tenant's law at one moment."""

    constitution: Constitution
    rules: RuleSet
    production: bool

    def judge(self, signals: Signals) -> Verdict:
        """The verdict on an act."""
        return judge(signals, self.constitution, production=self.production)
