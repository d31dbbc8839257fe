"""Masks: the share of masked tokens and what they become, as statistics over 100,000 examples."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from m5jax.data.masking_policy import BERT_MASKING, MaskingPolicy
from m5jax.data.preprocessors import MaskTokens, split_long_examples
from m5jax.data.vocabulary import EOS_ID, FIRST_LEARNED_ID, FIRST_TEXT_ID, MASK_ID, current_vocabulary
from m5jax.errors import UserError
from tests.data.conftest import TinyCorpus

EXAMPLES = 100_000
TEXT_TOKENS = 9
# Far below what chance gives once in a thousand runs; the seed is fixed, so the tests do not vary.
LEAST_PROBABILITY = 1e-3


@pytest.fixture(scope="module")
def masked(tiny_corpus: TinyCorpus) -> dict[str, np.ndarray]:
    """100,000 examples `field, 9 text tokens, end`, masked: originals, inputs and targets, each [examples, 11]."""
    from m5jax.data.vocabulary import set_current_vocabulary

    set_current_vocabulary(tiny_corpus.vocabulary)
    generator = np.random.default_rng(0)
    text = generator.integers(FIRST_TEXT_ID, current_vocabulary().size, (EXAMPLES, TEXT_TOKENS), np.int32)
    field = np.full((EXAMPLES, 1), FIRST_TEXT_ID - 1, np.int32)
    originals = np.concatenate([field, text, np.full((EXAMPLES, 1), EOS_ID, np.int32)], axis=1)
    dataset = _mask(tf.data.Dataset.from_tensor_slices({"inputs": originals}), seed=1)
    inputs, targets = zip(*((example["inputs"], example["targets"]) for example in _arrays(dataset)), strict=True)
    return {"originals": originals, "inputs": np.concatenate(inputs), "targets": np.concatenate(targets)}


def _mask(dataset: tf.data.Dataset, seed: int, policy: MaskingPolicy = BERT_MASKING) -> tf.data.Dataset:
    import seqio

    with seqio.utils.map_seed_manager(seed):
        return MaskTokens(policy)(dataset)


def _arrays(dataset: tf.data.Dataset) -> list[dict[str, np.ndarray]]:
    return list(dataset.batch(1000).as_numpy_iterator())


def test_targets_are_the_originals_and_only_text_is_masked(masked: dict[str, np.ndarray]) -> None:
    predicted = masked["targets"] > 0
    assert np.array_equal(masked["targets"][predicted], masked["originals"][predicted])
    assert np.array_equal(masked["inputs"][~predicted], masked["originals"][~predicted])
    assert not predicted[:, 0].any()
    assert not predicted[:, -1].any()


def test_the_masked_share_is_the_rate_and_never_a_token_away_from_it(masked: dict[str, np.ndarray]) -> None:
    counts = (masked["targets"] > 0).sum(axis=1)
    # floor(0.15 * 9 + u) is 1 or 2, and 2 with probability 0.35.
    assert set(counts) == {1, 2}
    result = stats.binomtest(int((counts == 2).sum()), EXAMPLES, 0.15 * TEXT_TOKENS - 1)
    assert result.pvalue > LEAST_PROBABILITY


def test_positions_are_uniform(masked: dict[str, np.ndarray]) -> None:
    by_position = (masked["targets"] > 0).sum(axis=0)[1:-1]
    assert stats.chisquare(by_position).pvalue > LEAST_PROBABILITY


def test_eighty_ten_ten(masked: dict[str, np.ndarray]) -> None:
    predicted = masked["targets"] > 0
    inputs, originals = masked["inputs"][predicted], masked["originals"][predicted]
    # A random token is the original once in a while.
    same_by_chance = (originals >= FIRST_LEARNED_ID).mean() / (current_vocabulary().size - FIRST_LEARNED_ID)
    became = [
        (inputs == MASK_ID).sum(),
        ((inputs != MASK_ID) & (inputs != originals)).sum(),
        (inputs == originals).sum(),
    ]
    shares = np.array([0.8, 0.1 * (1 - same_by_chance), 0.1 + 0.1 * same_by_chance])
    assert stats.chisquare(became, shares * predicted.sum()).pvalue > LEAST_PROBABILITY


def test_random_tokens_are_uniform_over_the_learned_ones(masked: dict[str, np.ndarray]) -> None:
    predicted = masked["targets"] > 0
    inputs, originals = masked["inputs"][predicted], masked["originals"][predicted]
    # Where the original is a byte, a learned token can only be a random one.
    replaced = inputs[(originals < FIRST_LEARNED_ID) & (inputs != MASK_ID) & (inputs != originals)]
    assert replaced.min() >= FIRST_LEARNED_ID
    counts = np.bincount(replaced - FIRST_LEARNED_ID, minlength=current_vocabulary().size - FIRST_LEARNED_ID)
    assert stats.chisquare(counts).pvalue > LEAST_PROBABILITY


def test_masks_follow_the_seed_and_differ_between_epochs(tiny: TinyCorpus) -> None:
    example = {"inputs": np.arange(400, 500, dtype=np.int32)[np.newaxis]}
    two_epochs = tf.data.Dataset.from_tensor_slices(example).repeat(2)

    def targets(seed: int) -> list[list[int]]:
        return [row["targets"].tolist() for row in _mask(two_epochs, seed).as_numpy_iterator()]

    assert targets(3) == targets(3)
    assert targets(3) != targets(4)
    assert targets(3)[0] != targets(3)[1]


def test_an_example_without_text_stays_as_it_is(tiny: TinyCorpus) -> None:
    (masked,) = _mask(tf.data.Dataset.from_tensors({"inputs": tf.constant([FIRST_TEXT_ID - 1, EOS_ID])}), seed=0)
    assert masked["inputs"].numpy().tolist() == [FIRST_TEXT_ID - 1, EOS_ID]
    assert masked["targets"].numpy().tolist() == [0, 0]


@pytest.mark.parametrize(("mask_share", "random_share"), [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (0.3, 0.5)])
def test_other_shares(tiny: TinyCorpus, mask_share: float, random_share: float) -> None:
    # Bytes, so that a random token, a learned one, is never the original.
    originals = np.full((1_000, 30), FIRST_LEARNED_ID - 1, np.int32)
    dataset = tf.data.Dataset.from_tensor_slices({"inputs": originals})
    policy = MaskingPolicy(rate=0.5, mask_share=mask_share, random_share=random_share)
    inputs = np.concatenate([rows["inputs"] for rows in _arrays(_mask(dataset, seed=2, policy=policy))])
    became = np.array([(inputs == MASK_ID).sum(), (inputs >= FIRST_LEARNED_ID).sum()]) / (inputs.size / 2)
    # 15,000 draws: four standard deviations are below 0.017.
    np.testing.assert_allclose(became, [mask_share, random_share], atol=0.017)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan")])
def test_an_impossible_rate_is_refused(rate: float) -> None:
    with pytest.raises(UserError, match=r"MaskingPolicy\.rate"):
        MaskingPolicy(rate)


@pytest.mark.parametrize(("mask_share", "random_share"), [(0.9, 0.2), (-0.1, 0.1), (0.5, -0.1)])
def test_impossible_shares_are_refused(mask_share: float, random_share: float) -> None:
    with pytest.raises(UserError, match="together at most 1"):
        MaskingPolicy(mask_share=mask_share, random_share=random_share)


@pytest.mark.parametrize(("size", "pieces"), [(1, [1]), (7, [7]), (8, [7, 1]), (21, [7, 7, 7]), (24, [7, 7, 7, 3])])
def test_long_examples_are_cut_into_full_pieces_and_a_rest(size: int, pieces: list[int]) -> None:
    dataset = tf.data.Dataset.from_tensors({"inputs": tf.range(size)})
    found = [example["inputs"] for example in split_long_examples(dataset, {"inputs": 7}).as_numpy_iterator()]
    assert [len(piece) for piece in found] == pieces
    assert np.array_equal(np.concatenate(found), np.arange(size))
