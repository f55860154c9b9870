"""text.template, text.split and text.join: pure work on text."""

from __future__ import annotations

import json

from pydantic import BaseModel, JsonValue

from somagent.adapters.tools.port import ToolContext
from somagent.adapters.tools.template import MAX_TEXT_CHARACTERS, render
from somagent.domain.actions.local import (
    TextJoinParams,
    TextOutput,
    TextSplitOutput,
    TextSplitParams,
    TextTemplateParams,
)
from somagent.domain.errors import Code, SomaError

MAX_PARTS = 100_000


class TextTool:
    """Fills templates, splits and joins. Nothing here touches the outside."""

    async def execute(self, verb: str, params: BaseModel, context: ToolContext) -> BaseModel:
        """Run ``text.<verb>``.

        Raises:
            SomaError: TEMPLATE_INVALID, OUTPUT_TOO_LARGE.
        """
        match params:
            case TextTemplateParams():
                return TextOutput(text=render(params.template, params.values))
            case TextSplitParams():
                return TextSplitOutput(parts=split(params))
            case TextJoinParams():
                return TextOutput(text=join(params))
            case _:
                raise SomaError(Code.PARAMS_INVALID, f"text has no action {verb!r}.")


def split(params: TextSplitParams) -> list[str]:
    """The parts between separators (empty ones kept), or of ``size`` characters each, the last one shorter.

    Joining the parts of a split by a separator with that separator gives the text again; so do the parts of a split by
    size joined with nothing. An empty text has one empty part by a separator, and none by size.
    """
    by, size = params.by, params.size or 1
    count = -(-len(params.text) // size) if by is None else params.text.count(by) + 1
    if count > MAX_PARTS:
        raise SomaError(
            Code.OUTPUT_TOO_LARGE, f"The text splits into {count:,} parts; at most {MAX_PARTS:,} are given."
        )
    if by is not None:
        return params.text.split(by)
    return [params.text[start : start + size] for start in range(0, len(params.text), size)]


def join(params: TextJoinParams) -> str:
    """The parts as one text: strings as they are, everything else as JSON."""
    texts = [_as_text(part) for part in params.parts]
    size = sum(map(len, texts)) + len(params.with_) * max(len(texts) - 1, 0)
    if size > MAX_TEXT_CHARACTERS:
        raise SomaError(Code.OUTPUT_TOO_LARGE, f"The text is longer than {MAX_TEXT_CHARACTERS:,} characters.")
    return params.with_.join(texts)


def _as_text(part: JsonValue) -> str:
    return part if isinstance(part, str) else json.dumps(part, ensure_ascii=False)
