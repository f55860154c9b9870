"""What a search may be narrowed to."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationError

from somagent.domain.errors import Code, Fault, SomaError
from somagent.domain.model import JsonObject, Model


class RecallFilters(Model):
    """An item is found only where every given filter holds."""

    tags: list[str] = Field(default_factory=list, max_length=64, description="The item has all of these tags")
    metadata: JsonObject = Field(
        default_factory=dict, description="The item's metadata contains this object (JSON containment)"
    )
    source: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        default=None, description="Who remembered it: `job` or `api`"
    )
    key_prefix: Annotated[str, Field(min_length=1, max_length=400)] | None = Field(
        default=None, description="The item's key begins with this"
    )


def filters_of(raw: JsonObject) -> RecallFilters:
    """The filters of an action's parameters.

    Raises:
        SomaError: ``params_invalid`` with every fault.
    """
    try:
        return RecallFilters.model_validate(raw)
    except ValidationError as error:
        faults = [
            Fault(".".join(("filters", *map(str, one["loc"]))), one["type"], one["msg"])
            for one in error.errors(include_url=False, include_input=False)
        ]
        words = "; ".join(f"{fault.path}: {fault.detail}" for fault in faults[:5])
        raise SomaError(
            Code.PARAMS_INVALID, f"The filters do not fit ({', '.join(RecallFilters.model_fields)}): {words}.",
            errors=faults,
        ) from error  # fmt: skip
