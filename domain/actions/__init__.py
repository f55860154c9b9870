"""The catalogue of actions a capsule's step can name: parameters, output, weight and delivery of each."""

from somagent.domain.actions.catalogue import ACTIONS, ADAPTERS, action
from somagent.domain.actions.spec import ActionSpec, Delivery, Weight

__all__ = ["ACTIONS", "ADAPTERS", "ActionSpec", "Delivery", "Weight", "action"]
