"""The unigram baseline, against counting by hand."""

import collections
import math

import numpy as np
import pytest

from m5jax.data.packing import pack_window, prediction_budget
from m5jax.data.vocabulary import EOS_ID, FIRST_TEXT_ID, MASK_ID
from m5jax.evaluation.held_out import count_targets, unigram_baseline

LENGTH, TEXT_TOKENS = 32, 20


def masked_text(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns original tokens, inputs and targets of a text of 3 to 12 tokens between a field token and the end."""
    text = FIRST_TEXT_ID + generator.zipf(1.5, generator.integers(3, 13)) % TEXT_TOKENS
    originals = np.concatenate([[FIRST_TEXT_ID - 1], text, [EOS_ID]]).astype(np.int32)
    chosen = (originals >= FIRST_TEXT_ID) & (generator.random(len(originals)) < 0.3)
    return originals, np.where(chosen, MASK_ID, originals).astype(np.int32), np.where(chosen, originals, 0)


def packed(texts: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    return pack_window(
        np.concatenate([inputs for _, inputs, _ in texts]),
        np.concatenate([targets for _, _, targets in texts]).astype(np.int32),
        np.cumsum([0, *(len(inputs) for _, inputs, _ in texts)]),
        length=LENGTH,
        budget=prediction_budget(LENGTH, 0.9),
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_unigram_baseline_is_what_counting_gives(seed: int) -> None:
    generator = np.random.default_rng(seed)
    training = [masked_text(generator) for _ in range(60)]
    held_out = [masked_text(generator) for _ in range(20)]
    size = FIRST_TEXT_ID + TEXT_TOKENS + 5
    seen = count_targets([packed(training[:30]), packed(training[30:])], np.ones(size, bool))
    baseline = unigram_baseline(seen, [packed(held_out)])

    counts = collections.Counter(int(t) for _, _, targets in training for t in targets if t)
    total = sum(counts.values()) + size
    answers = [int(t) for _, _, targets in held_out for t in targets if t]
    best = counts.most_common(1)[0][0]
    assert baseline.accuracy == pytest.approx(np.mean([answer == best for answer in answers]))
    assert baseline.loss == pytest.approx(np.mean([-math.log((counts[answer] + 1) / total) for answer in answers]))


def test_only_possible_targets_are_counted_once_more_than_seen() -> None:
    rows = {"targets": np.array([[3, 3, 4, 0]]), "loss_weights": np.array([[1, 1, 1, 0]])}
    baseline = unigram_baseline(count_targets([rows], np.isin(np.arange(9), [3, 4, 5])), [rows])
    assert baseline.accuracy == pytest.approx(2 / 3)
    assert baseline.loss == pytest.approx(-(2 * math.log(3 / 6) + math.log(2 / 6)) / 3)
