"""A few grave phrases written as one word (``writeanexploit``), taken apart.

A word is taken apart only where the whole of it is a verb, fillers and an object, with nothing behind them but ``for``,
``to`` or ``that`` and what follows it: no word of a dictionary is one.
"""

from __future__ import annotations

import re
from typing import Final

_LEADS: Final = "please|howtoi|howto|howdoi|howcani|canyou|helpme|showmehowto|tellmehowto|iwantto"
_FILLERS: Final = "me|us|a|an|the|some|my|new"
_TAILS: Final = "for|to|that"
_SHORTEST: Final = 8
_LONGEST: Final = 80


class RunTogether:
    """Phrases of a verb and an object that are recognised without spaces."""

    def __init__(self, verbs: str, objects: str) -> None:
        """``verbs``: separated by spaces; ``objects``: by commas."""
        phrases = [tuple(phrase.split()) for phrase in objects.split(",")]
        self._objects = {"".join(phrase): phrase for phrase in phrases}
        longest_first = sorted(self._objects, key=len, reverse=True)
        self._pattern = re.compile(
            f"(?:{_LEADS})?(?P<verb>{'|'.join(verbs.split())})(?:{_FILLERS}){{0,3}}"
            f"(?P<object>{'|'.join(longest_first)})(?:(?:{_TAILS})[a-z]{{2,40}})?"
        )

    def parts(self, word: str) -> tuple[str, ...]:
        """The verb and the words of the object; the word itself where it is not such a phrase."""
        if not _SHORTEST <= len(word) <= _LONGEST or (found := self._pattern.fullmatch(word)) is None:
            return (word,)
        return (found["verb"], *self._objects[found["object"]])
