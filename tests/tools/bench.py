"""A step's bench: it runs actions as a capsule's step does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from somagent.adapters.tools.port import ToolContext
from somagent.adapters.tools.registry import ToolRegistry
from somagent.domain.actions import action
from somagent.domain.errors import Code, SomaError


def names(folder: Path) -> list[str]:
    """What a folder holds."""
    return sorted(path.name for path in folder.iterdir())


class Bench:
    """Runs actions as a step does: parameters as a capsule gives them, in one job's context."""

    def __init__(self, registry: ToolRegistry, context: ToolContext) -> None:
        self.registry = registry
        self.context = context

    async def run(self, name: str, /, **params: object) -> BaseModel:
        """The action's output; checked to be the model that the catalogue promises."""
        spec = action(name)
        output = await self.registry.execute(name, spec.params.model_validate(params), self.context)
        assert type(output) is spec.output
        return output

    async def get(self, name: str, /, **params: object) -> dict[str, Any]:
        """The action's output as JSON types."""
        return (await self.run(name, **params)).model_dump(mode="json", by_alias=True)

    async def refused(self, name: str, code: Code, /, **params: object) -> SomaError:
        """The error of an action that must fail with ``code``."""
        with pytest.raises(SomaError) as caught:
            await self.run(name, **params)
        assert caught.value.code == code, caught.value
        return caught.value
