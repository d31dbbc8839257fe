import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, logsumexp

from m5jax.errors import UserError
from m5jax.objectives import LanguageModel


class FixedLogits:
    """Stands for a model: its states are given logits."""

    def __init__(self, logits):
        self.states = jnp.asarray(logits)

    def __call__(self, inputs, segment_ids, positions, dropout_keys, bidirectional):
        return self.states

    def logits(self, hidden):
        return hidden


def batch_of(targets, weights):
    rows = jnp.zeros((len(targets), 4), jnp.int32)
    return {
        "inputs": rows,
        "segment_ids": rows,
        "positions": rows,
        "predicted_positions": jnp.broadcast_to(jnp.arange(targets.shape[1]), targets.shape),
        "targets": jnp.asarray(targets),
        "loss_weights": jnp.asarray(weights),
    }


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(2, 9),
    st.sampled_from([0.0, 0.1]),
    st.integers(0, 2**32 - 1),
)
def test_loss_and_accuracy_equal_scipy(batch, budget, vocabulary, z_loss, seed):
    random = np.random.default_rng(seed)
    logits = random.normal(0, 3, (batch, budget, vocabulary)).astype(np.float32)
    targets = random.integers(0, vocabulary, (batch, budget), dtype=np.int32)
    weights = random.integers(0, 2, (batch, budget)).astype(np.float32)
    losses = -np.take_along_axis(log_softmax(logits, axis=-1), targets[..., None], -1)[..., 0]

    loss, metrics = LanguageModel(z_loss)(FixedLogits(logits), batch_of(targets, weights), None)

    assert float(metrics["loss"].total) == pytest.approx((losses * weights).sum(), rel=1e-4, abs=1e-4)
    penalty = z_loss * (logsumexp(logits, axis=-1) ** 2 * weights).sum()
    assert float(loss.total) == pytest.approx((losses * weights).sum() + penalty, rel=1e-4, abs=1e-4)
    assert float(metrics["accuracy"].total) == ((logits.argmax(-1) == targets) * weights).sum()
    for sums in (loss, *metrics.values()):
        assert float(sums.weight) == weights.sum()


def test_each_task_has_metrics_of_its_own_that_add_up():
    random = np.random.default_rng(1)
    logits = random.normal(size=(3, 4, 7)).astype(np.float32)
    targets = random.integers(0, 7, (3, 4), dtype=np.int32)
    batch = batch_of(targets, random.integers(0, 3, (3, 4)).astype(np.float32))
    batch["task_ids"] = jnp.asarray(random.integers(0, 2, (3, 4), dtype=np.int32))
    _, metrics = LanguageModel(tasks=("en", "de", "ar"))(FixedLogits(logits), batch, None)
    losses = -np.take_along_axis(log_softmax(logits, axis=-1), targets[..., None], -1)[..., 0]
    for number, task in enumerate(("en", "de", "ar")):
        weights = np.where(batch["task_ids"] == number, batch["loss_weights"], 0)
        assert float(metrics[f"{task}/loss"].total) == pytest.approx((losses * weights).sum(), abs=1e-4)
        assert float(metrics[f"{task}/accuracy"].weight) == weights.sum()
    assert sum(float(metrics[f"{task}/loss"].total) for task in ("en", "de")) == pytest.approx(
        float(metrics["loss"].total), abs=1e-4
    )


def test_gradient_is_probability_minus_target():
    logits = np.random.default_rng(0).normal(size=(2, 3, 7)).astype(np.float32)
    targets = np.array([[0, 1, 2], [3, 6, 6]], np.int32)
    batch = batch_of(targets, np.ones((2, 3), np.float32))
    gradient = jax.grad(lambda x: LanguageModel()(FixedLogits(x), batch, None)[0].total)(jnp.asarray(logits))
    np.testing.assert_allclose(gradient, np.exp(log_softmax(logits, axis=-1)) - np.eye(7)[targets], atol=1e-5)


@pytest.mark.parametrize("chunk_length", [1, 2, 5])
def test_logits_in_chunks_give_the_same_loss_and_gradients(chunk_length):
    random = np.random.default_rng(0)
    logits, targets = random.normal(size=(2, 5, 7)).astype(np.float32), random.integers(0, 7, (2, 5), dtype=np.int32)
    batch = batch_of(targets, random.integers(0, 3, (2, 5)).astype(np.float32))

    def loss(logits, chunk_length):
        sums, metrics = LanguageModel(z_loss=0.1, chunk_length=chunk_length)(FixedLogits(logits), batch, None)
        return sums.total, metrics

    (whole, metrics), expected = jax.value_and_grad(loss, has_aux=True)(jnp.asarray(logits), 0)
    (chunked, others), gradient = jax.value_and_grad(loss, has_aux=True)(jnp.asarray(logits), chunk_length)
    np.testing.assert_allclose(chunked, whole, rtol=1e-6)
    np.testing.assert_allclose(gradient, expected, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), others, metrics)


def test_large_logits_do_not_overflow():
    batch = batch_of(np.array([[1]], np.int32), np.ones((1, 1), np.float32))
    loss, _ = LanguageModel()(FixedLogits([[[1e4, 0.0, -1e4]]]), batch, None)
    assert float(loss.total) == pytest.approx(1e4)


def test_a_negative_z_loss_is_refused():
    with pytest.raises(UserError, match="z_loss = -1"):
        LanguageModel(z_loss=-1.0)


def test_weights_of_tasks_scale_their_loss_and_not_their_metrics():
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (3, 4, 6)).astype(np.float32)
    targets = random.integers(0, 6, (3, 4), dtype=np.int32)
    weights = np.ones((3, 4), np.float32)
    task_ids = random.integers(0, 2, (3, 4))
    batch = batch_of(targets, weights) | {"task_ids": jnp.asarray(task_ids)}
    plain = LanguageModel(tasks=("a", "b"))
    weighted = LanguageModel(tasks=("a", "b"), weights=(0.5, 3.0))
    loss, metrics = weighted(FixedLogits(logits), batch, None)
    scale = np.where(task_ids == 0, 0.5, 3.0)
    losses = -np.take_along_axis(log_softmax(logits, axis=-1), targets[..., None], axis=-1)[..., 0]
    np.testing.assert_allclose(loss.total, (losses * scale).sum(), rtol=1e-5)
    np.testing.assert_allclose(loss.weight, scale.sum(), rtol=1e-6)
    unweighted = plain(FixedLogits(logits), batch, None)[1]
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(a == b), metrics, unweighted))


def test_weights_below_zero_are_refused():
    with pytest.raises(UserError, match=r"task_weights: a has -1.0; allowed: 0 and above"):
        LanguageModel(task_weights={"a": -1.0})
