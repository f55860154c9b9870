"""Cutting documents into pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from somagent.domain.chunks import chunks

_prose = st.text(alphabet="ab .!\n\t-ü", max_size=400)


@given(_prose, st.integers(1, 60))
def test_nothing_but_blanks_is_lost_and_no_piece_is_too_long(text: str, size: int) -> None:
    pieces = chunks(text, size)
    assert all(0 < len(piece) <= size for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(text.split())


def test_paragraphs_stay_together_and_long_ones_are_cut_between_sentences() -> None:
    text = "# Head\n\n- one\n- two\n\n" + "A sentence of some length. " * 10
    pieces = chunks(text, 120)
    assert pieces[0] == "# Head\n\n- one\n- two"
    assert all(piece.endswith(".") for piece in pieces[1:])


def test_an_empty_text_has_no_pieces() -> None:
    assert chunks(" \n\n \n") == []
