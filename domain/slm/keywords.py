"""Keywords of a text, in the text's own words."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final

from somagent.domain.slm.sentences import sentences
from somagent.domain.slm.words import STOPWORDS

_TOKEN: Final = re.compile(r"[^\W_]+(?:[-'’./][^\W_]+)*|[^\w\s]")
_LONGEST: Final = 3


def keywords(text: str, limit: int = 10) -> list[str]:
    """The text's keywords, best first, each as it first stands in the text.

    RAKE: Rose, Engel, Cramer and Cowley, "Automatic Keyword Extraction from Individual Documents" (2010): candidate
    phrases lie between function words and punctuation; a word scores degree/frequency over the candidates, a phrase
    the sum of its words, times the number of its appearances, so that what a text returns to wins over a single long
    phrase. Phrases of more than three words are passed over.
    """
    first_form: dict[tuple[str, ...], str] = {}
    count: Counter[tuple[str, ...]] = Counter()
    for phrase in _candidates(text):
        folded = tuple(word.casefold() for word in phrase)
        first_form.setdefault(folded, " ".join(phrase))
        count[folded] += 1
    frequency: Counter[str] = Counter()
    degree: dict[str, int] = defaultdict(int)
    for words, times in count.items():
        for word in words:
            frequency[word] += times
            degree[word] += times * len(words)
    score = {words: times * sum(degree[word] / frequency[word] for word in words) for words, times in count.items()}
    order = {words: place for place, words in enumerate(first_form)}
    best = sorted(score, key=lambda words: (-score[words], order[words]))
    return [first_form[words] for words in best[:limit]]


def _candidates(text: str) -> Iterator[tuple[str, ...]]:
    for sentence in sentences(text):
        phrase: list[str] = []
        for token in [*_TOKEN.findall(sentence.text), "."]:
            content = token[0].isalnum() and token.casefold() not in STOPWORDS and not token.isdigit()
            if content and (len(token) > 1 or not token.isascii()):
                phrase.append(token)
                continue
            if 0 < len(phrase) <= _LONGEST:
                yield tuple(phrase)
            phrase = []
