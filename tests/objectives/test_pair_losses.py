import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m5jax.errors import UserError
from m5jax.objectives import (
    InBatchContrastive,
    PairCrossEntropy,
    SupervisedContrastive,
    ThreePartHinge,
    TripletMargin,
)
from m5jax.objectives.pair_losses import Pairs
from m5jax.objectives.pair_objective import known_pairs
from tests.objectives import naive_pairs
from tests.objectives.naive_pairs import Known, known_batches

SCALE, BIAS = 3.0, -0.5


class Similarities:
    """Random similarities of all sides of a batch."""

    def __init__(self, known: Known, seed: int) -> None:
        random = np.random.default_rng(seed)
        rows, right = known.right_groups.shape
        self.candidates = random.uniform(-1, 1, (rows, rows, right)).astype(np.float32)
        self.own = np.array([self.candidates[row, row, 0] for row in range(rows)])
        among = random.uniform(-1, 1, (2 * rows, 2 * rows)).astype(np.float32)
        self.among = (among + among.T) / 2

    def __call__(self, row: int, other: int, place: int) -> float:
        return float(self.candidates[row, other, place])

    def pairs(self, known: Known) -> Pairs:
        own, left_out, alike = known_pairs({name: jnp.asarray(array) for name, array in known.batch.items()})
        return Pairs(
            jnp.asarray(self.own),
            jnp.asarray(SCALE * self.own + BIAS),
            jnp.asarray(self.candidates.reshape(len(self.own), -1)),
            own,
            left_out,
            jnp.asarray(self.among),
            alike,
            jnp.float32(SCALE),
            *(jnp.asarray(array) for array in (known.labels, known.fits, known.weights)),
        )


def assert_equal(sums, expected):
    np.testing.assert_allclose((sums.total, sums.weight), expected, rtol=1e-4, atol=1e-4)


BATCHES = known_batches(), st.integers(0, 2**16)


@settings(max_examples=25)
@given(*BATCHES, st.sampled_from([0.2, 1.0, 5.0]))
def test_the_cross_entropy_of_pairs_equals_a_loop(known, seed, positive_weight):
    similarities = Similarities(known, seed)
    expected = naive_pairs.pair_cross_entropy(known, SCALE * similarities.own + BIAS, positive_weight)
    assert_equal(PairCrossEntropy(positive_weight)(similarities.pairs(known)), expected)


@settings(max_examples=40)
@given(*BATCHES, st.booleans())
def test_the_contrastive_loss_equals_a_loop(known, seed, symmetric):
    similarities = Similarities(known, seed)
    expected = naive_pairs.in_batch_contrastive(known, similarities, SCALE, symmetric)
    assert_equal(InBatchContrastive(symmetric)(similarities.pairs(known)), expected)


@settings(max_examples=40)
@given(*BATCHES, st.sampled_from([0.1, 1.0]), st.sampled_from(["hardest", "all"]))
def test_the_triplet_loss_equals_a_loop(known, seed, margin, negatives):
    similarities = Similarities(known, seed)
    expected = naive_pairs.triplet_margin(known, similarities, margin, negatives == "hardest")
    assert_equal(TripletMargin(margin, negatives)(similarities.pairs(known)), expected)


@settings(max_examples=40)
@given(*BATCHES, st.sampled_from([0.5, 2.0]))
def test_the_hinge_of_three_parts_equals_a_loop(known, seed, random_weight):
    similarities, loss = Similarities(known, seed), ThreePartHinge(0.6, 0.1, -0.3, random_weight)
    assert_equal(loss(similarities.pairs(known)), naive_pairs.three_part_hinge(known, similarities, loss))


@settings(max_examples=40)
@given(*BATCHES)
def test_the_supervised_contrastive_loss_equals_a_loop(known, seed):
    similarities = Similarities(known, seed)
    expected = naive_pairs.supervised_contrastive(known, similarities.among, SCALE)
    assert_equal(SupervisedContrastive()(similarities.pairs(known)), expected)


LOSSES = [
    PairCrossEntropy(),
    InBatchContrastive(),
    InBatchContrastive(symmetric=False),
    TripletMargin(),
    TripletMargin(negatives="all"),
    ThreePartHinge(),
    SupervisedContrastive(),
]


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_a_row_without_weight_changes_no_loss_and_gets_no_gradient(loss):
    """Neither does what stands in its place."""
    groups = np.arange(8, dtype=np.int32)
    ones = np.ones(4, np.float32)
    known = Known(groups[:4], groups[4:, None], ones, ones, np.array([1, 1, 0, 2], np.float32))
    similarities = Similarities(known, 0)

    def total(candidates, among):
        pairs = similarities.pairs(known)._replace(
            similarities=jnp.diagonal(candidates),
            logits=SCALE * jnp.diagonal(candidates),
            candidates=candidates,
            among=among,
        )
        return loss(pairs).total

    arrays = jnp.asarray(similarities.candidates[..., 0]), jnp.asarray(similarities.among)
    of_candidates, of_among = jax.grad(total, argnums=(0, 1))(*arrays)
    assert not np.any(of_candidates[2])
    assert not np.any(of_candidates[:, 2])
    for place in (2, 6):
        assert not np.any(of_among[place])
        assert not np.any(of_among[:, place])
    gradients = of_among if isinstance(loss, SupervisedContrastive) else of_candidates
    assert np.any(gradients)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_a_batch_without_weight_has_a_loss_of_zero(loss):
    groups, zeros = np.arange(4, dtype=np.int32), np.zeros(2, np.float32)
    known = Known(groups[:2], groups[2:, None], zeros, zeros, zeros)
    sums = loss(Similarities(known, 0).pairs(known))
    assert (float(sums.total), float(sums.weight)) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PairCrossEntropy(0.0), "PairCrossEntropy.positive_weight = 0.0; allowed: above 0"),
        (lambda: TripletMargin(-0.1), "TripletMargin.margin = -0.1; allowed: above 0"),
        (lambda: TripletMargin(negatives="hard"), "unknown TripletMargin.negatives 'hard'; did you mean hardest"),
        (lambda: ThreePartHinge(bought=0.1), "random 0.2, shown 0.55, bought 0.1; allowed: -1 to 1, in this order"),
        (lambda: ThreePartHinge(random_weight=0.0), "ThreePartHinge.random_weight = 0.0"),
    ],
)
def test_settings_that_cannot_be_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()
