"""Scores of visual tokens, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vla_entropy_ros.engine.decoding.probe import information
from vla_entropy_ros.engine.reuse.scores import Attention, attention_mass, attention_score, image_entropy


def histogram_entropy(patch: NDArray[np.uint8], bins: int) -> float:
    """-sum p log p of the grey-level histogram, over its maximum."""
    counts, _ = np.histogram(patch, bins=bins, range=(0, 256))
    p = counts[counts > 0] / patch.size
    return float(-(p * np.log(p)).sum() / np.log(min(bins, patch.size)))


@pytest.mark.parametrize("bins", [64, 256])
def test_image_entropy_is_that_of_the_histogram(bins: int) -> None:
    random = np.random.default_rng(0)
    patches = np.stack([random.integers(0, top, 196, np.uint8) for top in (1, 2, 17, 130, 255)])
    expected = [histogram_entropy(patch, bins) for patch in patches]
    np.testing.assert_allclose(image_entropy(patches, bins), expected, atol=1e-12)


def test_more_patches_than_a_byte_can_number_are_counted_apart() -> None:
    patches = np.random.default_rng(1).integers(0, 256, (600, 196), np.uint8)
    one_by_one = [image_entropy(patch[None], 64)[0] for patch in patches]
    np.testing.assert_allclose(image_entropy(patches, 64), one_by_one, atol=1e-12)
    with pytest.raises(ValueError, match="256 pixels: at most 255"):
        image_entropy(np.zeros((4, 256), np.uint8), 64)


def test_image_entropy_spans_zero_to_one() -> None:
    patches = np.stack([np.full(196, 90, np.uint8), np.arange(196, dtype=np.uint8)])
    np.testing.assert_allclose(image_entropy(patches, 256), [0.0, 1.0], atol=1e-12)


def test_attention_score_is_high_where_one_word_looks() -> None:
    attention = np.zeros((4, 3), np.float32)
    attention[2, 0] = 0.3  # one word only
    attention[:, 1] = 0.1  # all alike; the third token gets none
    np.testing.assert_allclose(attention_score(attention), [1.0, 0.0, 0.0], atol=1e-7)
    np.testing.assert_allclose(attention_score(attention, mass_weighted=True), [0.75, 0.0, 0.0], atol=1e-7)
    np.testing.assert_allclose(attention_mass(attention), [0.075, 0.1, 0.0], atol=1e-7)


@given(st.integers(1, 20), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_scores_lie_between_zero_and_one(words: int, tokens: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    attention = (random.random((words, tokens)) ** 8 * (random.random((words, tokens)) > 0.3)).astype(np.float32)
    for weighted in (False, True):
        score = attention_score(attention, weighted)
        assert score.shape == (tokens,)
        assert ((score >= 0) & (score <= 1)).all()
    p = attention.astype(np.float64) / np.maximum(attention.sum(0, dtype=np.float64), 1e-300)
    entropy = -(p * np.log(np.where(p > 0, p, 1))).sum(0) / np.log(max(words, 2))
    seen = attention.sum(0) > 0
    np.testing.assert_allclose(attention_score(attention)[seen], np.clip(1 - entropy, 0, 1)[seen], atol=1e-5)


def test_kept_scores_are_those_of_the_attention() -> None:
    weights = np.random.default_rng(0).random((5, 9), np.float32)
    kept = Attention(weights)
    np.testing.assert_array_equal(kept.mass, attention_mass(weights))
    for weighted in (False, True, False):  # asked again, the same
        np.testing.assert_array_equal(kept.score(weighted), attention_score(weights, weighted))
    assert kept.score(True) is kept.score(True)


def test_attention_information_is_attention_times_pointedness_by_its_definition() -> None:
    random = np.random.default_rng(5)
    raw = random.random((2, 3, 4, 16)) ** 3
    raw[0, 0, 0] = 1e-30  # next to nothing, everywhere
    raw[1, 2, 3] = 0.0
    raw[1, 2, 3, 7] = 1.0  # one place
    weights = 0.6 * raw / raw.sum(-1, keepdims=True)  # the rest goes to the text
    expected = np.zeros((4, 16))
    for layer, head, row in np.ndindex(2, 3, 4):
        share = weights[layer, head, row] / weights[layer, head, row].sum()
        entropy = -sum(p * np.log(p) for p in share if p > 0) / np.log(16)
        expected[row] += weights[layer, head, row] * (1 - entropy) ** 2
    found = information(torch.from_numpy(np.log(np.maximum(weights, 1e-300))))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
    assert found[3, 7] > 0.6  # all of what looks at one place


def test_what_looks_everywhere_alike_tells_nothing() -> None:
    even = torch.full((1, 1, 2, 64), 1 / 64).log()
    assert float(information(even).max()) == pytest.approx(0.0, abs=1e-9)
