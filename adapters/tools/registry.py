"""Which tool runs an action."""

from __future__ import annotations

from pydantic import BaseModel

from somagent.adapters.egress import EgressRules
from somagent.adapters.settings import Settings
from somagent.adapters.tools.files import FilesTool
from somagent.adapters.tools.git import GitTool
from somagent.adapters.tools.http import HttpTool
from somagent.adapters.tools.port import Tool, ToolContext
from somagent.adapters.tools.postgres_query import PostgresTool
from somagent.adapters.tools.sandbox import Sandbox
from somagent.adapters.tools.shell import ShellTool
from somagent.adapters.tools.text import TextTool
from somagent.domain.errors import Code, SomaError


class ToolRegistry:
    """The tools of one process. Close it before the process ends."""

    def __init__(self, settings: Settings) -> None:
        rules = EgressRules(settings.egress_allow)
        self._http = HttpTool(rules)
        self._postgres = PostgresTool(settings.sql_connections)
        sandbox = Sandbox()
        self._tools: dict[str, Tool] = {
            "files": FilesTool(),
            "text": TextTool(),
            "http": self._http,
            "postgres": self._postgres,
            "git": GitTool(sandbox, rules),
            "shell": ShellTool(sandbox),
        }

    async def execute(self, action: str, params: BaseModel, context: ToolContext) -> BaseModel:
        """Run one action (``files.read``) to its end and give its output model.

        Raises:
            SomaError: with the code of what went wrong; TOOL_NOT_ALLOWED for an action that no tool here runs.
        """
        adapter, _, verb = action.partition(".")
        tool = self._tools.get(adapter)
        if tool is None:
            raise SomaError(Code.TOOL_NOT_ALLOWED, f"No tool runs {action!r}.")
        return await tool.execute(verb, params, context)

    async def close(self) -> None:
        """Close connections that tools keep open."""
        await self._http.close()
        await self._postgres.close()
