"""What an act is judged by: the constitution in force, the tenant's rules, and how strict the mode is."""

from __future__ import annotations

from dataclasses import dataclass

from somagent.domain.modes import VerdictLogging
from somagent.domain.policy.constitution import Constitution
from somagent.domain.policy.rules import RuleSet
from somagent.domain.policy.scoring import Signals, Verdict, judge


@dataclass(frozen=True, slots=True)
class Law:
    """A tenant's law at one moment."""

    constitution: Constitution
    rules: RuleSet
    production: bool
    verdict_logging: VerdictLogging = "refusals"
    """Which verdicts the tenant's mode wants in the log; it decides nothing."""

    @property
    def mark(self) -> str:
        """Equal laws have equal marks: the constitution, the rules, and whether the mode is a production mode."""
        return f"{self.constitution.content_hash}:{self.rules.content_hash}:{'p' if self.production else 'd'}"

    def judge(self, signals: Signals) -> Verdict:
        """The verdict on an act."""
        return judge(signals, self.constitution, production=self.production)
