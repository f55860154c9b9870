"""The base of every model that crosses a boundary."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, JsonValue

JsonObject = dict[str, JsonValue]


class Model(BaseModel):
    """Frozen, and strict about unknown fields: a misspelt one is a fault, not a surprise."""

    model_config = ConfigDict(frozen=True, extra="forbid")
