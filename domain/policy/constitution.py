"""The constitution: the weights and the threshold by which every effect is judged."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Annotated, Final

import rfc8785
from pydantic import Field

from somagent.domain.model import Model

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
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

    version: int = Field(default=1, ge=1)
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


DEFAULT: Final = Constitution()
"""In force until a tenant's people approve another one."""
DEFAULT_HASH: Final = DEFAULT.content_hash
