"""The hashing embedder: deterministic everywhere, of length 1, similar texts near."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from somagent.domain.slm.embedding import DIMENSION, embed, embed_all

TEXT = "The harbour served the grain trade; Grüße, 中文!"


@given(st.text(max_size=300))
def test_length_one_and_the_same_again(text: str) -> None:
    vector = embed(text)
    assert vector.shape == (DIMENSION,)
    assert np.linalg.norm(vector) == pytest.approx(1.0)
    assert (embed(text) == vector).all()


def test_the_same_in_every_process() -> None:
    script = "import sys, hashlib; from somagent.domain.slm.embedding import embed_all;" + (
        "sys.stdout.write(hashlib.sha256(repr(embed_all([sys.argv[1]])).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", script, TEXT],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert digests == {hashlib.sha256(repr(embed_all([TEXT])).encode()).hexdigest()}


@pytest.mark.parametrize(
    ("text", "near", "far"),
    [
        ("deploy the payment service", "deploying payments services", "cats like milk"),
        ("the grain trade left the harbour", "trade in grain", "the brewery bought a truck"),
        ("Kubernetes rollout failed", "kubernetes rollouts fail", "quarterly tax report"),
        ("人工智能的风险", "人工智能带来风险", "今天下雨"),
        ("colour of the harbor", "color of the harbour", "price of the ticket"),
    ],
)
def test_similar_texts_are_nearer(text: str, near: str, far: str) -> None:
    assert embed(text) @ embed(near) > embed(text) @ embed(far) + 0.2


def test_unrelated_texts_are_nearly_orthogonal() -> None:
    vectors = np.array(
        embed_all(f"{word}{index} thing{index} of{index}" for index, word in enumerate("abcdefghij" * 5))
    )
    similarity = vectors @ vectors.T - np.eye(len(vectors))
    assert abs(similarity.mean()) < 0.3


def test_function_words_alone_are_a_text_too() -> None:
    assert embed("to be or not to be") @ embed("to be or not") > 0.5
    assert embed("") @ embed("!") < 1.0
