"""The constitution: the weights and the threshold by which every effect is judged.

It holds what decides and nothing else, so that two constitutions with the same hash judge the same: who proposed one
and why stands in the proposal, how many have to approve it in the tenant's settings.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Annotated, Final

import rfc8785
from pydantic import Field, JsonValue, ValidationError

from somagent.domain.errors import Code, Fault, SomaError
from somagent.domain.model import Model

HEAVIEST: Final = 1_000_000
"""A weight's upper bound: beyond it numbers lose digits on their way through JSON and databases."""
HIGHEST_VERSION: Final = 2**31 - 1

Weight = Annotated[float, Field(ge=0, le=HEAVIEST, allow_inf_nan=False)]
Threshold = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class FeatureWeights(Model):
    """How much each feature counts. The names are those of the features in a verdict."""

    prompt_cleanliness: Weight = 0.3
    confidence: Weight = 0.2
    safety: Weight = 0.3
    """Of 1 − risk."""
    budget: Weight = 0.2
    human_required: Weight = 0.15
    """A penalty: its feature is −1 where a human is required."""


class Constitution(Model):
    """What is in force for a tenant. Equal content has an equal hash."""

    version: int = Field(default=1, ge=1, le=HIGHEST_VERSION)
    threshold: Threshold = 0.7
    production_threshold: Threshold = 0.8
    """In force in the two production modes."""
    weights: FeatureWeights = FeatureWeights()

    @cached_property
    def content_hash(self) -> str:
        """Hex SHA-256 of the RFC 8785 canonical JSON form."""
        return hashlib.sha256(rfc8785.dumps(self.model_dump(mode="json"))).hexdigest()

    def threshold_for(self, *, production: bool) -> float:
        """θ of the deployment's mode."""
        return self.production_threshold if production else self.threshold

    @property
    def best_score(self) -> float:
        """S of an act that nothing can be said against: every weight but the penalty's, summed as a verdict sums."""
        weights = self.weights
        return sum((weights.prompt_cleanliness, weights.confidence, weights.safety, weights.budget))


DEFAULT: Final = Constitution()
"""In force until a tenant's people approve another one."""
DEFAULT_HASH: Final = DEFAULT.content_hash


def parse_constitution(content: JsonValue, *, path: str = "") -> Constitution:
    """Read a constitution's content strictly: every field given, each of its own type, nothing else.

    Args:
        path: where the content stands in a larger document; put before the paths of its faults.

    Raises:
        SomaError: ``constitution_invalid`` with every fault.
    """
    faults = [*_missing(content, path)]
    try:
        constitution = Constitution.model_validate(content, strict=True)
    except ValidationError as error:
        faults.extend(
            Fault(_joined(path, *map(str, one["loc"])), one["type"], one["msg"])
            for one in error.errors(include_url=False, include_input=False)
        )
    else:
        if not faults:
            return constitution
    noun = "fault" if len(faults) == 1 else "faults"
    raise SomaError(
        Code.CONSTITUTION_INVALID,
        f"The constitution has {len(faults)} {noun}. Correct all, sign it and send it again.",
        errors=faults,
    )


def _missing(content: JsonValue, path: str) -> list[Fault]:
    """The models have defaults; a document has none, so that its hash is that of what was signed."""
    if not isinstance(content, dict):
        return []
    absent: list[tuple[str, ...]] = [(name,) for name in Constitution.model_fields if name not in content]
    weights = content.get("weights")
    if isinstance(weights, dict):
        absent += [("weights", name) for name in FeatureWeights.model_fields if name not in weights]
    return [Fault(_joined(path, *names), "missing", "This field is required") for names in absent]


def _joined(*parts: str) -> str:
    return ".".join(part for part in parts if part)
