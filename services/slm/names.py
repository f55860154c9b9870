"""The names under which models can be asked for: roles, and what the operator has configured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from somagent.adapters.settings import Settings
from somagent.adapters.slm.builtin import EXTRACTIVE, PLANNER
from somagent.domain.actions.remote import SlmRole
from somagent.domain.errors import Code, SomaError

AUTO: Final = "auto"
"""Whatever answers dialogue."""
_SPEAKING: Final = tuple(role for role in SlmRole if role not in (SlmRole.EMBEDDINGS, SlmRole.ASR, SlmRole.TTS))


def chat_models(settings: Settings) -> Mapping[str, SlmRole]:
    """Every name that a chat may ask for, with the role it stands for."""
    names = {AUTO: SlmRole.DIALOGUE_REASONING, **{role.value: role for role in _SPEAKING}}
    if settings.slm_base_url:
        return {**names, settings.slm_model: SlmRole.DIALOGUE_REASONING} if settings.slm_model else names
    return {**names, EXTRACTIVE: SlmRole.DIALOGUE_REASONING, PLANNER: SlmRole.TOOL_CALL_PLANNING}


def chat_role(settings: Settings, name: str) -> SlmRole:
    """The role that a name stands for.

    Raises:
        SomaError: ``unknown_role``, with the names there are.
    """
    known = chat_models(settings)
    if name not in known:
        raise SomaError(Code.UNKNOWN_ROLE, f"There is no model {name!r} to chat with. There are: {', '.join(known)}.")
    return known[name]
