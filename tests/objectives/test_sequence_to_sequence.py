import jax
import jax.numpy as jnp
import numpy as np
import pytest

from m5jax.errors import UserError
from m5jax.objectives import SequenceToSequence
from m5jax.objectives.sequence_to_sequence import shift_right
from tests.models.tiny import encoder_decoder, row_of, segments_of


def batch_of():
    inputs, targets = row_of(segments_of([7, 4]), 12), row_of(segments_of([5, 8], seed=1), 15)
    batch = dict(zip(("inputs", "segment_ids", "positions"), inputs, strict=True))
    batch |= dict(zip(("targets", "target_segment_ids", "target_positions"), targets, strict=True))
    return batch | {"loss_weights": (targets[1] > 0).astype(jnp.float32)}


def mean_loss(model, objective, batch):
    def loss(parameters):
        sums = objective(model.bind(parameters), batch, None)[0]
        return sums.total / sums.weight

    return jax.jit(jax.value_and_grad(loss))


@pytest.mark.parametrize("tied", [False, True])
def test_chunks_give_the_full_loss_and_gradients(tied):
    model, parameters = encoder_decoder(tied_logits=tied)
    batch = batch_of()

    def full(parameters):
        module = model.bind(parameters)
        read = shift_right(batch["targets"], batch["target_positions"])
        rows = [batch[name] for name in ("inputs", "segment_ids", "positions")]
        logits = module.logits(module(*rows, read, batch["target_segment_ids"], batch["target_positions"]))
        log_probabilities = jax.nn.log_softmax(logits)
        expected = 0.9 * jax.nn.one_hot(batch["targets"], logits.shape[-1]) + 0.1 / logits.shape[-1]
        losses = -jnp.sum(expected * log_probabilities, -1) + 0.01 * jax.nn.logsumexp(logits, -1) ** 2
        return jnp.sum(losses * batch["loss_weights"]) / jnp.sum(batch["loss_weights"])

    expected = jax.jit(jax.value_and_grad(full))(parameters)
    found = mean_loss(model, SequenceToSequence(0.01, label_smoothing=0.1, chunk_length=4), batch)(parameters)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)
    for one, other in zip(jax.tree.leaves(found[1]), jax.tree.leaves(expected[1]), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_chunks_need_a_fraction_of_the_memory_at_a_vocabulary_of_32k():
    model, _ = encoder_decoder(vocab_size=32_768)
    shape = jax.ShapeDtypeStruct((8, 256), jnp.int32)
    names = ("inputs", "segment_ids", "positions", "targets", "target_segment_ids", "target_positions")
    batch = dict.fromkeys(names, shape) | {"loss_weights": jax.ShapeDtypeStruct((8, 256), jnp.float32)}

    def temporary_bytes(chunk_length):
        objective = SequenceToSequence(chunk_length=chunk_length)

        def loss(parameters, batch):
            return objective(model.bind(parameters), batch, None)[0].total

        compiled = jax.jit(jax.grad(loss)).lower(model.abstract_parameters, batch).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary_bytes(16) < 0.25 * temporary_bytes(256)


def test_the_decoder_reads_the_target_before_within_each_segment():
    targets, _, positions = row_of([np.array([5, 6, 7]), np.array([8, 9])], 5)
    np.testing.assert_array_equal(shift_right(targets, positions), [[0, 5, 6, 0, 8]])


@pytest.mark.parametrize(("name", "value"), [("z_loss", -1.0), ("label_smoothing", -1.0), ("chunk_length", -1)])
def test_a_negative_setting_is_refused(name, value):
    with pytest.raises(UserError, match=f"{name} = {value}"):
        SequenceToSequence(**{name: value})


def test_each_task_has_a_weight_and_metrics_of_its_own():
    model, parameters = encoder_decoder()
    batch = batch_of() | {"task_ids": jnp.where(batch_of()["target_segment_ids"] == 2, 1, 0)}
    weighted = SequenceToSequence(tasks=("a", "b"), weights=(1.0, 3.0))
    loss, metrics = weighted(model.bind(parameters), batch, None)
    for number, task in enumerate("ab"):
        alone = batch | {"loss_weights": (batch["target_segment_ids"] == number + 1).astype(jnp.float32)}
        own = SequenceToSequence()(model.bind(parameters), alone, None)[1]
        for name in ("loss", "accuracy"):
            np.testing.assert_allclose(metrics[f"{task}/{name}"], own[name], rtol=1e-6)
    np.testing.assert_allclose(loss.total, metrics["a/loss"].total + 3 * metrics["b/loss"].total, rtol=1e-6)
    np.testing.assert_allclose(loss.weight, 5 + 3 * 8)
