"""Words of a text: folded, without function words, plural forms joined."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_WORD: Final = re.compile(r"[^\W_]+(?:['’][^\W\d_]+)?")
_IDEOGRAPH: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")

_ENGLISH: Final = """a about above after again all also am an and any are as at be because been before being below
between both but by can cannot could did do does doing don down during each either else ever every few for from
further get had has have having he her here hers herself him himself his how however i if in into is isn it its
itself just let like may me might more most much must my myself neither no nor not now of off on once one only or
other our ours out over own please per same shall she should so some such than that the their theirs them then there
these they this those though through to too under until up upon us very was we were what when where whether which
while who whom whose why will with within without would yet you your yours yourself s t re ve ll d m"""
_GERMAN: Final = """aber alle als also am an auch auf aus bei beim bin bis bist da damit dann das dass dem den denn
der des die dies diese diesem diesen dieser dieses doch dort du durch ein eine einem einen einer eines er es etwas
euch für gegen hab habe haben hat hatte hier ich ihm ihn ihr ihre im in ins ist ja je kann kein keine können man mehr
mein mich mir mit muss nach nicht noch nun nur ob oder ohne sehr sein seine sich sie sind so soll sondern sowie um
und uns unter vom von vor war waren was weil wenn wer wie wird wir wo wurde wurden zu zum zur über"""
_FRENCH: Final = """au aux avec ce ces cette dans de des du elle elles en est et eux il ils je la le les leur leurs
lui mais me mes moi mon ne nos notre nous on ou où par pas pour qu que qui sa se ses son sont sur ta te tes toi ton tu
un une vos votre vous été être"""
_SPANISH: Final = """al como con de del el ella ellos en era es esta este esto ha han la las lo los más mi no nos o
para pero por que se sin sobre son su sus un una uno y ya"""

STOPWORDS: Final = frozenset(" ".join((_ENGLISH, _GERMAN, _FRENCH, _SPANISH)).split())


def words(text: str) -> list[str]:
    """Every word of ``text`` in order, compatibility-normalised and case-folded; an ideograph is a word."""
    found: list[str] = []
    for match in _WORD.finditer(unicodedata.normalize("NFKC", text).casefold()):
        word = match.group()
        if _IDEOGRAPH.search(word):
            found.extend(_split_ideographs(word))
        else:
            found.append(word.replace("’", "'"))
    return found


def _split_ideographs(word: str) -> list[str]:
    pieces: list[str] = []
    run = ""
    for character in word:
        if _IDEOGRAPH.match(character):
            if run:
                pieces.append(run)
            pieces.append(character)
            run = ""
        else:
            run += character
    return [*pieces, run] if run else pieces


def stem(word: str) -> str:
    """The word without an English plural ending: the S-stemmer of Harman, "How effective is suffixing?" (1991)."""
    if len(word) > 3 and word.endswith("'s"):
        return word[:-2]
    if len(word) > 4 and word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("es") and not word.endswith(("aes", "ees", "oes")):
        return word[:-1]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("us", "ss")):
        return word[:-1]
    return word


def terms(text: str) -> list[str]:
    """The words that carry meaning, stemmed, in order and with repetitions."""
    return [stem(word) for word in words(text) if word not in STOPWORDS]
