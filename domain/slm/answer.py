"""Extractive answers: the sentences of a given text that are nearest to a question."""

from __future__ import annotations

from typing import Final

import numpy as np

from somagent.domain.slm.material import Material
from somagent.domain.slm.sentences import Sentence, sentences
from somagent.domain.slm.summary import Choice, assemble, choose, rank_sentences, summarise
from somagent.domain.slm.tfidf import Vector, term_matrix
from somagent.domain.slm.words import terms, words

NO_MATERIAL: Final = (
    "This built-in extractive model has no text to answer from: it only quotes what it is given. "
    "Put the text into the prompt, or set SLM_BASE_URL to a model server."
)
NOTHING_RELATED: Final = (
    "Nothing in the given text is related to the question, and this built-in extractive model only quotes what it is "
    "given. Add the text that holds the answer, or set SLM_BASE_URL to a model server."
)
_MOST: Final = 5
_NEAR: Final = 0.35
_HEADING_WEIGHT: Final = 0.5
_PREFIX: Final = 5
_FEWEST_TO_CONDENSE: Final = 3
_ASKING_WORDS: Final = """work mean happen tell explain describe give list find know question answer say kind use much
many name show need want called thing way long"""
_ABOUT_ASKING: Final = frozenset(_ASKING_WORDS.split())


def answer(material: Material, max_tokens: int) -> str:
    """The sentences of the body that answer the question, in their own order; a fixed sentence where there are none.

    A remark of one or two sentences that asks nothing is no text to answer from: it would only be said back.
    Without a question, or with an order that names no subject of the text ("Summarise the following"), a summary.
    """
    short = not material.question and len(sentences(material.body)) < _FEWEST_TO_CONDENSE
    if not material.body.strip() or short:
        return NO_MATERIAL
    if not material.question or not _asks_about(material):
        return summarise(material.body, max_tokens).text or NO_MATERIAL
    found = related(material.body, material.question, max_tokens)
    return found.text or NOTHING_RELATED


def related(body: str, question: str, max_tokens: int, most: int = _MOST) -> Choice:
    """Up to ``most`` sentences of ``body`` related to ``question``; empty where none shares a word with it.

    A sentence's relation is its TF-IDF cosine with the question, plus half its heading's, times one plus its
    centrality when the random walk prefers what is related (see :func:`rank_sentences`). Kept are those with at
    least 0.35 of the best one's relation; where the best one itself shares a word with the question, so must they.
    The question itself, where the body repeats it, is no answer.
    """
    asked = {_plain(sentence.text) for sentence in sentences(question)}
    found = [sentence for sentence in sentences(body) if _plain(sentence.text) not in asked]
    if not found:
        return Choice((), "")
    subject = _subject(question, body)
    matrix = term_matrix([sentence.text for sentence in found])
    direct = matrix.similarity_to_text(subject)
    relation = direct + _HEADING_WEIGHT * _heading_relation(found, subject)
    if relation.max() <= 0:
        return Choice((), "")
    centrality = rank_sentences(matrix, relation)
    scores = relation * (1.0 + centrality / centrality.max())
    scores = np.where(scores >= _NEAR * scores.max(), scores, 0.0)
    if direct[int(np.argmax(scores))] > 0:
        scores = np.where(direct > 0, scores, 0.0)
    chosen = choose(found, matrix, scores, most, max_tokens)
    return assemble([found[index] for index in chosen], max_tokens, fallback=found[int(np.argmax(scores))])


def _plain(sentence: str) -> str:
    return " ".join(words(sentence))


def _subject(question: str, body: str) -> str:
    """The question's words that can find something: without words about asking, an unknown one as its relatives.

    A word that the text lacks stands for those of the text that begin alike (``deploying``, ``deployment``).
    """
    asked = [term for term in terms(question) if term not in _ABOUT_ASKING]
    known = {*terms(body)}
    found = [term for term in asked if term in known]
    for term in asked:
        if term not in known and len(term) > _PREFIX:
            found.extend(sorted(other for other in known if other.startswith(term[:_PREFIX])))
    return " ".join(found)


def _heading_relation(found: list[Sentence], subject: str) -> Vector:
    headings = list(dict.fromkeys(sentence.heading for sentence in found))
    similarity = term_matrix(headings).similarity_to_text(subject)
    by_heading = dict(zip(headings, similarity.tolist(), strict=True))
    return np.array([by_heading[sentence.heading] for sentence in found], dtype=np.float64)


_TEXT_WORDS: Final = """summary summarise summarize condense shorten digest overview gist brief briefly following text
document page note paragraph point main key important sentence word short concise please give write above below content
fact produce read state report only bullet language english plain clear precise given keep citation"""
_ABOUT_THE_TEXT: Final = frozenset(_TEXT_WORDS.split())


def _asks_about(material: Material) -> bool:
    """Whether the question has a subject, beyond words about texts and summaries as such."""
    subject = set(terms(material.question)) - _ABOUT_THE_TEXT
    if material.question.rstrip().endswith(("?", "？")):
        return bool(subject)
    return not subject.isdisjoint(terms(material.body))
