"""Letters that look like Latin ones, as Unicode's confusables have them, and what a text loses to be compared.

Compatibility forms (full width, mathematical, circled, superscript) need no table: their decomposition says what they
are. Here are the letters of other scripts and the small capitals that have no decomposition.
"""

from __future__ import annotations

import unicodedata
from typing import Final

_SAME_SHAPE: Final = (
    # Cyrillic
    ("АаӐӑᎪ", "a"), ("ВвᏴ", "b"), ("Ссҫ", "c"), ("ԁԀժ", "d"), ("ЕеЁёҽєЄ", "e"), ("ғҒ", "f"), ("ԍԌ", "g"),
    ("НнһҺҺ", "h"), ("ІіЇїӀӏ", "i"), ("ЈјɈ", "j"), ("КкҚқҝ", "k"), ("ⅼ", "l"), ("Мм", "m"), ("пПӅ", "n"),
    ("ОоӦӧөӨ", "o"), ("Рр", "p"), ("ԛԚ", "q"), ("гг", "r"), ("Ѕѕ", "s"), ("Тт", "t"), ("цџ", "u"), ("ѵѴ", "v"),
    ("ԝԜшѡ", "w"), ("ХхҲҳ", "x"), ("УуҮүЎў", "y"), ("ʐ", "z"), ("Ььъ", "b"), ("иИйЙ", "n"), ("яЯ", "r"), ("З", "e"),
    # Greek
    ("Ααά", "a"), ("Ββ", "b"), ("Ϲϲ", "c"), ("δ", "d"), ("Εεέ", "e"), ("Ϝϝ", "f"), ("Η", "h"), ("Ιιίϊΐ", "i"),
    ("Ϳϳ", "j"), ("Κκϰ", "k"), ("Μ", "m"), ("Νη", "n"), ("Οοόσ", "o"), ("Ρρϱ", "p"), ("ς", "s"), ("Ττ", "t"),
    ("υύϋ", "u"), ("ν", "v"), ("ωώϖ", "w"), ("Χχ", "x"), ("Υγ", "y"), ("Ζ", "z"),
    # Armenian, Hebrew, Cherokee, Lisu
    ("աԱ", "w"), ("օՕ", "o"), ("սՍ", "u"), ("հՀ", "h"), ("ոՈ", "n"), ("ցց", "g"), ("քՔ", "p"), ("լ", "l"), ("յ", "j"),
    ("וןӀ", "l"), ("סם", "o"), ("Ꭺᗅꓮ", "a"), ("ꓐᏼ", "b"), ("ᏟꓚᑕⲤⲥ", "c"), ("Ꭰᗞꓓᗪ", "d"), ("Ꭼꓰ", "e"), ("ꓝᖴ", "f"),
    ("Ꮐꓖ", "g"), ("Ꮋꓧᕼ", "h"), ("Ꮖꓲ", "i"), ("Ꭻꓙᒍ", "j"), ("Ꮶꓗ", "k"), ("Ꮮꓡᒪ", "l"), ("Ꮇꓟᗰ", "m"), ("ꓠ", "n"),
    ("ꓳⲞⲟ", "o"), ("ᏢꓑᑭⲢⲣ", "p"), ("Ꭱᖇꓣ", "r"), ("Ꮪꓢᔕ", "s"), ("Ꭲꓔ", "t"), ("ᑌꓴ", "u"), ("Ꮩꓦᐯ", "v"), ("Ꮃꓪᗯ", "w"),
    ("᙭ꓫ", "x"), ("Ꭹꓬ", "y"), ("Ꮓꓜ", "z"),
    # Latin letters of other shapes: small capitals, barred, hooked, turned
    ("ᴀɑɐȺⱥ", "a"), ("ʙɓƀᗷ", "b"), ("ᴄƈȼ", "c"), ("ᴅđɗð", "d"), ("ᴇǝəɛɘ", "e"), ("ꜰƒ", "f"), ("ɢɡɠǥ", "g"),
    ("ʜħɦ", "h"), ("ɪıɨɩ", "i"), ("ᴊȷ", "j"), ("ᴋƙ", "k"), ("ʟłƚɫ", "l"), ("ᴍɱ", "m"), ("ɴŋɲ", "n"), ("ᴏøɔɵ", "o"),
    ("ᴘƥþ", "p"), ("ʠɋ", "q"), ("ʀɍɾ", "r"), ("ꜱʂƽ", "s"), ("ᴛŧƭ", "t"), ("ᴜʉ", "u"), ("ᴠʋ", "v"), ("ᴡʍ", "w"),
    ("ʏɏƴ", "y"), ("ᴢƶȥ", "z"), ("æÆ", "ae"), ("œŒ", "oe"), ("ΦØ", "o"),
)  # fmt: skip
_SPANS: Final = ((0x1F150, 26), (0x1F170, 26), (0x1F1E6, 26))
"""Circled, squared and regional letters in a row, A to Z: they have no decomposition."""
_TAGS: Final = range(0xE0020, 0xE007F)
"""Invisible copies of ASCII, by which a text can hide another."""
_BLANKS: Final = frozenset("\u115f\u1160\u3164\uffa0\u2800\t\n\v\f\r\x85\u2028\u2029")
_REMEMBERED: Final = 20_000


def _letters() -> dict[int, str]:
    table = {ord(letter): latin for letters, latin in _SAME_SHAPE for letter in letters}
    for first, count in _SPANS:
        table.update({first + offset: chr(ord("a") + offset) for offset in range(count)})
    table.update({tag: chr(tag - 0xE0000).casefold() for tag in _TAGS})
    return table


_LETTERS: Final = _letters()


class _Forms(dict[int, str]):
    """The comparable form of a character, worked out when it is first met."""

    def __missing__(self, code: int) -> str:
        form = _form(chr(code))
        if len(self) < _REMEMBERED:
            self[code] = form
        return form


def _form(character: str) -> str:
    """Once is not enough where a small letter looks like another than its capital does."""
    form, before = _LETTERS.get(ord(character), character), ""
    while form != before:
        before, form = form, "".join(map(_bare, unicodedata.normalize("NFKD", form)))
    return form


def _bare(character: str) -> str:
    if character in _BLANKS:
        return " "
    if (known := _LETTERS.get(ord(character))) is not None:
        return known
    kind = unicodedata.category(character)
    if kind in ("Mn", "Me", "Cf", "Cc", "Cs"):
        return ""
    return " " if kind.startswith("Z") else character.casefold()


_FORMS: Final = _Forms()


def plain(text: str) -> str:
    """``text`` as it looks, in lower-case Latin letters where it looks like them.

    Compatibility forms are decomposed (NFKD), look-alikes replaced; marks, invisible and control characters are
    dropped, every kind of space is a space. Linear in the length of the text.
    """
    return text.translate(_FORMS)
