"""The Python client of SomaGent's REST API."""

from somagent.client.client import ApiError, SomaGent
from somagent.client.verdicts import PolicyRefused, PolicyUnavailable, Verdict, evaluate_sync

__all__ = ["ApiError", "PolicyRefused", "PolicyUnavailable", "SomaGent", "Verdict", "evaluate_sync"]
