"""The search attributes under which operators find a run in the Temporal UI."""

from temporalio.common import SearchAttributeKey

SOMA_TENANT = SearchAttributeKey.for_keyword("SomaTenant")
SOMA_CAPSULE = SearchAttributeKey.for_keyword("SomaCapsule")
SOMA_STATUS = SearchAttributeKey.for_keyword("SomaStatus")
SOMA_SESSION = SearchAttributeKey.for_keyword("SomaSession")
