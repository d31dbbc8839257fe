"""The loss of a trained model on each record on its own."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from m5jax.data.record_examples import RecordExamples
from m5jax.errors import UserError
from m5jax.evaluation.example_batches import batches_by_length
from m5jax.models import FunctionalModel, Parameters
from m5jax.objectives import Batch
from m5jax.objectives.chunked_logits import map_logits
from m5jax.objectives.language_model import predicted_states
from m5jax.objectives.token_objective import target_logits
from partitioning import batch_sharding, batch_shards, global_batch, tree_shardings

_BATCHES_A_CHUNK = 16  # examples sorted by length together


class RecordScores(NamedTuple):
    """Of consecutive records: uint64 keys, int32 predicted tokens, and float64 mean loss of these in nats, NaN where
    there is none, each [records]."""

    keys: np.ndarray
    predicted_tokens: np.ndarray
    losses: np.ndarray


def score_records(
    records: Iterable[RecordExamples], model: FunctionalModel, parameters: Parameters, mesh: Mesh, batch_size: int
) -> Iterator[RecordScores]:
    """Yields the scores of all records, in order, some at a time.

    An example has a row of its own. Examples of like length share a batch, whose rows and predictions are padded to
    powers of two, so that few programs are compiled. Memory does not grow with the number of records.

    Args:
        records: from `record_examples`.
        model: a masked, prefix or causal language model.
        parameters: on `mesh`.
        mesh: its devices share the rows of a batch.
        batch_size: rows in a batch, rounded up to a multiple of what the mesh divides them by.
    """
    shardings = tree_shardings(mesh, model.abstract_parameters, model.logical_axes)

    def row_losses(parameters: Parameters, batch: Batch) -> Float[Array, " batch"]:
        return _row_losses(model.bind(parameters), batch)

    compiled = jax.jit(
        row_losses,
        in_shardings=(shardings, batch_sharding(mesh)),
        out_shardings=NamedSharding(mesh, PartitionSpec()),
    )
    rows = -(-batch_size // batch_shards(mesh)) * batch_shards(mesh)
    for chunk in _chunks(records, rows * _BATCHES_A_CHUNK):
        with jax.set_mesh(mesh):
            yield _scored(chunk, lambda batch: compiled(parameters, global_batch(mesh, batch)), rows)


def _row_losses(module: Any, batch: Batch) -> Float[Array, " batch"]:
    """Returns the summed cross-entropy of each row's predictions."""

    def losses_of(logits: Float[Array, "batch budget vocab"], targets: Int[Array, "batch budget"]) -> Array:
        return jax.nn.logsumexp(logits, axis=-1) - target_logits(logits, targets)

    losses = map_logits(module, predicted_states(module, batch, None), losses_of, batch["targets"])
    return jnp.sum(losses * batch["loss_weights"], axis=-1)


def _chunks(records: Iterable[RecordExamples], examples: int) -> Iterator[list[RecordExamples]]:
    """Yields records until there are so many examples; records without any count for one."""
    chunk: list[RecordExamples] = []
    size = 0
    for record in records:
        chunk.append(record)
        size += max(len(record.examples), 1)
        if size >= examples:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _scored(chunk: Sequence[RecordExamples], row_losses: Any, rows: int) -> RecordScores:
    examples = [example for record in chunk for example in record.examples]
    owners = np.repeat(np.arange(len(chunk)), [len(record.examples) for record in chunk])
    predictions = np.array([np.count_nonzero(example.targets) for example in examples], np.int64)
    # All are under way before the first is waited for.
    computed = [(places, row_losses(batch)) for places, batch in batches_by_length(examples, rows)]
    sums, counts = np.zeros(len(chunk)), np.zeros(len(chunk), np.int32)
    np.add.at(counts, owners, predictions)
    for places, losses in jax.device_get(computed):
        np.add.at(sums, owners[places], losses[: len(places)])
    means = np.full(len(chunk), np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    if not np.isfinite(means[counts > 0]).all():
        raise UserError("the run's loss on a record is not finite, so its scores say nothing; score with another step")
    return RecordScores(np.array([record.key for record in chunk], np.uint64), counts, means)
