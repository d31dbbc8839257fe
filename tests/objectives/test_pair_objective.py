import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m5jax.errors import UserError
from m5jax.models import EncoderConfig, FunctionalModel, NgramEncoderConfig, TwoTowerConfig
from m5jax.objectives import (
    InBatchContrastive,
    PairCrossEntropy,
    PairObjective,
    SupervisedContrastive,
    ThreePartHinge,
    TripletMargin,
)
from m5jax.objectives import pair_objective as module
from m5jax.objectives.pair_objective import known_pairs
from tests.objectives import naive_pairs
from tests.objectives.naive_pairs import Known, known_batches

VOCAB = 40
ALL = (
    PairCrossEntropy(positive_weight=2.0),
    InBatchContrastive(),
    TripletMargin(),
    ThreePartHinge(),
    SupervisedContrastive(),
)


def batch_of(known, length=6, seed=0):
    """Returns a batch of random texts; of one group is the same text."""
    random = np.random.default_rng(seed)
    texts = random.integers(1, VOCAB, (100, length), dtype=np.int32)
    texts *= np.arange(length) < random.integers(1, length + 1, (100, 1))
    arrays = known.batch
    for prefix, groups in (("", known.left_groups), ("right_", known.right_groups)):
        arrays |= {f"{prefix}inputs": texts[groups], f"{prefix}segment_ids": (texts[groups] > 0).astype(np.int32)}
    return {name: jnp.asarray(array) for name, array in arrays.items()}


def eight_pairs(right=3):
    random = np.random.default_rng(0)
    labels = np.array([1, 1, 0, 1, 0.5, 1, 1, 1], np.float32)
    weights = np.array([1, 1, 1, 0.5, 1, 0, 2, 1], np.float32)
    groups = random.integers(0, 12, 8, dtype=np.int32), random.integers(6, 30, (8, right), dtype=np.int32)
    return Known(*groups, labels, (labels == 1).astype(np.float32), weights)


@functools.cache
def two_tower(encoder=None, **changes):
    encoder = encoder or NgramEncoderConfig(vocab_size=VOCAB, width=8)
    model = FunctionalModel.from_config(TwoTowerConfig(encoder=encoder, **changes))
    parameters = dict(jax.jit(model.init)(jax.random.key(0)))
    return model, parameters | {"bias": jnp.array([-0.3])}


ENCODER = EncoderConfig(vocab_size=VOCAB, width=16, layers=2, heads=2, mlp_hidden=24, max_length=16, dropout_rate=0.3)


@settings(max_examples=60)
@given(known_batches())
def test_what_is_known_of_pairs_equals_loops(known):
    own, left_out, alike = known_pairs({name: jnp.asarray(array) for name, array in known.batch.items()})
    rows, right = known.right_groups.shape
    shape = (rows, rows, right)
    for row in range(rows):
        for other in range(rows):
            for place in range(right):
                is_own = (row, 0) == (other, place)
                where = (row, other, place)
                assert bool(own.reshape(shape)[where]) == is_own
                assert bool(left_out.reshape(shape)[where]) == (not is_own and not known.is_negative(*where))
    for first in range(2 * rows):
        for second in range(2 * rows):
            assert bool(alike[first, second]) == known.are_alike(first, second)


def known_of(left, right, fits=None, weights=None):
    left, right = np.array(left, np.int32), np.array(right, np.int32)
    fits, weights = (np.array([1.0] * len(left) if given is None else given, np.float32) for given in (fits, weights))
    known = Known(left, right, fits, fits, weights)
    return known, [np.array(part) for part in known_pairs({n: jnp.asarray(a) for n, a in known.batch.items()})]


def test_another_right_side_of_the_same_left_one_is_no_negative_where_it_fits():
    # A query with two products that fit, and one that does not, which is a negative.
    _, (_, left_out, _) = known_of([0, 0, 0], [[1], [2], [3]], fits=[1, 1, 0])
    np.testing.assert_array_equal(left_out, [[0, 1, 0], [1, 0, 0], [1, 1, 0]])


def test_a_mined_negative_that_fits_as_well_is_none():
    _, (_, left_out, _) = known_of([0, 5], [[1, 7], [2, 1]])
    np.testing.assert_array_equal(left_out, [[0, 0, 0, 1], [0, 0, 0, 0]])


def test_a_left_side_is_no_negative_of_itself():
    # Of duplicates a text may be the left side of one pair and the right side of another.
    _, (_, left_out, _) = known_of([0, 1], [[1], [2]])
    np.testing.assert_array_equal(left_out, [[0, 0], [1, 0]])


def test_padding_is_no_negative_and_has_none():
    _, (_, left_out, _) = known_of([0, 1, 2], [[3, 4], [5, 6], [7, 8]], weights=[1, 0, 1])
    expected = [[0, 0, 1, 1, 0, 0], [1, 1, 0, 1, 1, 1], [0, 0, 1, 1, 0, 0]]
    np.testing.assert_array_equal(left_out, expected)


def naive_loss(loss, known, left, right, scale, bias):
    """Returns total and weight, of cosines of embeddings."""
    left, right = (side / np.linalg.norm(side, axis=-1, keepdims=True) for side in (left, right))

    def similarity(row, other, place):
        return float(left[row] @ right[other, place])

    match loss:
        case PairCrossEntropy():
            logits = np.array([scale * similarity(row, row, 0) + bias for row in known.rows])
            return naive_pairs.pair_cross_entropy(known, logits, loss.positive_weight)
        case InBatchContrastive():
            return naive_pairs.in_batch_contrastive(known, similarity, scale, loss.symmetric)
        case TripletMargin():
            return naive_pairs.triplet_margin(known, similarity, loss.margin, loss.negatives == "hardest")
        case ThreePartHinge():
            return naive_pairs.three_part_hinge(known, similarity, loss)
    both = np.concatenate([left, right[:, 0]])
    return naive_pairs.supervised_contrastive(known, both @ both.T, scale)


WEIGHTS = (1.0, 0.5, 2.0, 1.5, 0.25)


@functools.cache
def compiled(dimensions):
    """Returns from a batch to the loss, metrics and embeddings of both sides, compiled."""
    model, parameters = two_tower(temperature=0.5)
    objective, tower = PairObjective(ALL, WEIGHTS, dimensions), model.bind(parameters)
    return jax.jit(lambda batch: (*objective(tower, batch, None), *objective._embed(tower, batch, None)))


@settings(max_examples=20)
@given(known_batches(), st.sampled_from([(), (2, 5)]), st.integers(0, 2**16))
def test_the_loss_is_the_mean_over_sizes_of_the_weighted_sum_of_losses(known, dimensions, seed):
    sums, metrics, *sides = compiled(dimensions)(batch_of(known, seed=seed))
    left, right = (np.array(side, np.float64) for side in sides)
    expected = 0.0
    for size in (8, *dimensions):
        for loss, weight in zip(ALL, WEIGHTS, strict=True):
            total, count = naive_loss(loss, known, left[..., :size], right[..., :size], 2.0, -0.3)
            expected += weight * (total / count if count else 0.0) / (1 + len(dimensions))
            name = {
                PairCrossEntropy: "pair_cross_entropy",
                InBatchContrastive: "in_batch_contrastive",
                TripletMargin: "triplet_margin",
                ThreePartHinge: "three_part_hinge",
                SupervisedContrastive: "supervised_contrastive",
            }[type(loss)]
            name += f"_{size}" if size < 8 else ""
            np.testing.assert_allclose(metrics.pop(name), (total, count), rtol=1e-3, atol=1e-3)
    count = float(known.weights.sum())
    assert float(sums.weight) == pytest.approx(count)
    assert float(sums.total) == pytest.approx(expected * count, rel=1e-3, abs=1e-3)
    assert set(metrics) == {"loss", "temperature"}
    assert float(metrics["temperature"].total) == pytest.approx(0.5 * count, rel=1e-5)


@pytest.mark.parametrize("parts", [1, 4])
def test_each_side_is_embedded_by_its_tower_in_its_place(parts):
    model, parameters = two_tower(shared=False)
    batch, tower = batch_of(eight_pairs()), model.bind(parameters)
    left, right = PairObjective((InBatchContrastive(),), embedding_parts=parts)._embed(tower, batch, None)
    for row in range(8):
        alone = tower.embed(batch["inputs"][row : row + 1], batch["segment_ids"][row : row + 1])
        np.testing.assert_allclose(left[row], alone[0], atol=1e-6)
        several = tower.embed(batch["right_inputs"][row], batch["right_segment_ids"][row], right=True)
        np.testing.assert_allclose(right[row], several, atol=1e-6)


def loss_and_gradients(objective, model, parameters, batch, keys):
    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def total(parameters, batch, keys):
        sums, metrics = objective(model.bind(parameters), batch, keys)
        return sums.total / sums.weight, metrics

    return total(parameters, batch, keys)


@pytest.mark.parametrize(("dropout", "shared"), [(False, True), (True, False)])
def test_embeddings_made_in_parts_give_the_loss_and_gradients_of_the_whole(dropout, shared):
    model, parameters = two_tower(ENCODER, shared=shared, projection=12)
    batch = batch_of(eight_pairs())
    keys = jax.random.split(jax.random.key(5), 8) if dropout else None
    objective = PairObjective((InBatchContrastive(), PairCrossEntropy()), dimensions=(4,))
    whole, gradients = loss_and_gradients(objective, model, parameters, batch, keys)
    assert float(whole[0]) > 0.1
    assert any(np.abs(leaf).max() > 1e-2 for leaf in jax.tree.leaves(gradients["encoder"]["layers"]))
    cut = dataclasses.replace(objective, embedding_parts=4)
    loss, own = loss_and_gradients(cut, model, parameters, batch, keys)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), loss, whole)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), own, gradients)


def test_dropout_of_a_row_follows_from_its_key_and_differs_between_its_sides():
    model, parameters = two_tower(ENCODER)
    known = known_of([3] * 4, [[3, 3]] * 4)[0]
    batch = batch_of(known)
    keys = jax.random.split(jax.random.key(0), 2)[jnp.array([0, 1, 0, 1])]
    left, right = jax.jit(lambda keys: PairObjective((ALL[1],))._embed(model.bind(parameters), batch, keys))(keys)
    every = [np.array(side) for side in (left, right[:, 0], right[:, 1])]
    for side in every:
        np.testing.assert_allclose(side[:2], side[2:], atol=1e-6)
    distinct = np.concatenate([side[:2] for side in every])
    distances = np.abs(distinct[:, None] - distinct[None]).max(axis=-1)
    assert (distances[~np.eye(6, dtype=bool)] > 1e-3).all()


def test_parts_need_not_have_the_layers_of_all_rows_in_memory():
    """Of parts the backward pass makes states again: temporary memory falls."""
    model, parameters = two_tower(dataclasses.replace(ENCODER, layers=4))
    batch = jax.tree.map(lambda x: jnp.tile(x, (8, *[1] * (x.ndim - 1))), batch_of(eight_pairs()))

    def memory(parts):
        objective = PairObjective((InBatchContrastive(),), embedding_parts=parts)
        gradient = jax.jit(jax.grad(lambda parameters: objective(model.bind(parameters), batch, None)[0].total))
        return gradient.lower(parameters).compile().memory_analysis().temp_size_in_bytes

    assert memory(8) < memory(1) / 3


def test_a_batch_of_the_same_pair_twice_has_nothing_to_tell_apart():
    model, parameters = two_tower()
    known = known_of([0, 0], [[1], [1]])[0]
    batch = batch_of(known)
    for loss in (InBatchContrastive(), TripletMargin(margin=5.0)):
        sums, _ = PairObjective((loss,))(model.bind(parameters), batch, None)
        assert float(sums.total) == pytest.approx(0.0, abs=1e-6)


def test_without_masking_known_pairs_would_be_negatives(monkeypatch):
    """Guards the test above: the loss does depend on it."""
    original = module.known_pairs

    def unmasked(batch):
        own, left_out, alike = original(batch)
        return own, jnp.zeros_like(left_out), alike

    monkeypatch.setattr(module, "known_pairs", unmasked)
    model, parameters = two_tower()
    sums, _ = PairObjective((InBatchContrastive(),))(
        model.bind(parameters), batch_of(known_of([0, 0], [[1], [1]])[0]), None
    )
    assert float(sums.total) == pytest.approx(2 * np.log(2), rel=1e-4)


@pytest.mark.parametrize("loss", [PairCrossEntropy(), PairCrossEntropy(positive_weight=3.0)])
def test_a_loss_of_pairs_alone_is_exact_however_a_batch_is_split(loss):
    model, parameters = two_tower(similarity="mlp")
    batch, objective = batch_of(eight_pairs()), PairObjective((loss,))
    assert not objective.is_of_whole_batch
    whole, _ = objective(model.bind(parameters), batch, None)
    parts = [objective(model.bind(parameters), {n: a[start::2] for n, a in batch.items()}, None)[0] for start in (0, 1)]
    np.testing.assert_allclose(sum(part.total for part in parts), whole.total, rtol=1e-5)
    np.testing.assert_allclose(sum(part.weight for part in parts), whole.weight, rtol=1e-5)


def test_losses_that_compare_pairs_are_of_the_whole_batch_and_not_for_mlp():
    for loss in ALL[1:]:
        assert PairObjective((loss,)).is_of_whole_batch
        model, parameters = two_tower(similarity="mlp")
        with pytest.raises(UserError, match="losses over all pairs of a batch cannot use it"):
            PairObjective((PairCrossEntropy(), loss))(model.bind(parameters), batch_of(eight_pairs()), None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"losses": ()}, "PairObjective.losses is empty; one loss or more is needed"),
        ({"weights": (1.0, 2.0)}, "PairObjective has 1 losses and 2 weights"),
        ({"weights": (0.0,)}, r"PairObjective.weights = \(0.0,\); allowed: above 0"),
        ({"dimensions": (8, 0)}, r"PairObjective.dimensions = \(8, 0\) and embedding_parts = 1; allowed: 1 and above"),
        ({"embedding_parts": 0}, "embedding_parts = 0; allowed: 1 and above"),
    ],
)
def test_settings_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        PairObjective(**({"losses": (PairCrossEntropy(),)} | arguments))


def test_what_does_not_fit_a_batch_or_a_model_is_refused():
    model, parameters = two_tower()
    with pytest.raises(UserError, match="embedding_parts = 3 does not divide the 8 rows of a batch"):
        PairObjective((PairCrossEntropy(),), embedding_parts=3)(model.bind(parameters), batch_of(eight_pairs()), None)
    with pytest.raises(UserError, match="embeddings of 8 dimensions cannot be cut to 16"):
        PairObjective((PairCrossEntropy(),), dimensions=(16,))(model.bind(parameters), batch_of(eight_pairs()), None)
