"""The Python client of SomaGent's REST API."""

from somagent.client.client import ApiError, SomaGent

__all__ = ["ApiError", "SomaGent"]
