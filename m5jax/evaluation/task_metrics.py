"""The metric functions that tasks declare in SeqIO's registry, of a model's answers on held-out batches."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int

from m5jax.data.batch_iterator import Batch
from m5jax.data.labels import labelling, own_labels
from m5jax.data.mixtures import find_tasks
from m5jax.data.vocabulary import Vocabulary, current_vocabulary
from m5jax.models import FunctionalModel, Parameters
from m5jax.objectives.chunked_logits import map_logits
from m5jax.objectives.language_model import predicted_states
from m5jax.objectives.sequence_to_sequence import target_states
from partitioning import batch_sharding, global_batch, tree_shardings


class Answers(NamedTuple):
    """What each held-out example should have answered and did; see `m5jax.data.metric_functions`."""

    targets: list[list[str]]
    predictions: list[list[str]]
    scores: list[float]


def make_task_metrics(
    model: FunctionalModel, mesh: Mesh, tasks: Mapping[str, str], held_out: Mapping[str, Sequence[Batch]]
) -> Callable[[Parameters], dict[str, float]]:
    """Returns a function from parameters to `evaluation/NAME/METRIC` of the tasks that declare metric functions.

    A task with labels answers with the likeliest of its own. One that writes is given the right tokens before each that
    it answers with: all of an answer are right exactly where greedy decoding writes it.

    Args:
      model: the model.
      mesh: where parameters live.
      tasks: registered task by name.
      held_out: this process's batches by name, equally many in each process.
    """
    registered = {name: find_tasks(task)[0] for name, task in tasks.items()}
    measured = {name: task for name, task in registered.items() if task.metric_fns}
    answer = jax.jit(
        lambda parameters, batch, allowed, positive: _answer(model.bind(parameters), batch, allowed, positive),
        in_shardings=(
            tree_shardings(mesh, model.abstract_parameters, model.logical_axes),
            batch_sharding(mesh),
            *[NamedSharding(mesh, PartitionSpec())] * 2,
        ),
        out_shardings=NamedSharding(mesh, PartitionSpec()),
    )

    def measure(parameters: Parameters) -> dict[str, float]:
        values: dict[str, float] = {}
        with jax.set_mesh(mesh):
            for name, task in measured.items():
                allowed, positive = _allowed(task, model.config.vocab_size)
                fetched = [
                    jax.device_get(answer(parameters, global_batch(mesh, batch), allowed, positive))
                    for batch in held_out[name]
                ]
                found = _collect(fetched, current_vocabulary(), labelling(task) is not None)
                values |= {f"evaluation/{name}/{metric}": value for metric, value in _apply(task, found).items()}
        return values

    return measure


def _answer(
    module: Any, batch: dict[str, Array], allowed: Bool[Array, " vocab"], positive: Int[Array, ""]
) -> dict[str, Array]:
    """Returns the predicted ids, the log-odds of `positive`, and what is needed to tell whose they are."""

    def answers_of(logits: Float[Array, "batch budget vocab"], _: Any) -> tuple[Array, Array]:
        logits = jnp.where(allowed, logits, -jnp.inf)
        others = jax.nn.logsumexp(jnp.where(jnp.arange(len(allowed)) == positive, -jnp.inf, logits), axis=-1)
        return jnp.argmax(logits, axis=-1), jnp.take(logits, positive, axis=-1) - others

    if "target_segment_ids" in batch:  # of an encoder-decoder
        states, segments = target_states(module, batch, None), batch["target_segment_ids"]
    else:
        states = predicted_states(module, batch, None)
        segments = jnp.take_along_axis(batch["segment_ids"], batch["predicted_positions"], axis=1)
    predictions, scores = map_logits(module, states, answers_of, batch["targets"])
    return {
        "predictions": predictions,
        "scores": scores,
        "segments": jnp.where(batch["loss_weights"] > 0, segments, 0),
        "targets": batch["targets"],
    }


def _allowed(task: Any, vocab_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns which ids a task may answer with, bool [vocab_size], and the id that scores are of, int32 []."""
    vocabulary, step = current_vocabulary(), labelling(task)
    if step is None:
        return np.arange(vocab_size) < vocabulary.text_size, np.array(0, np.int32)
    ids = own_labels(vocabulary, step.label_set)
    return np.isin(np.arange(vocab_size), list(ids.values())), np.array(ids.get(step.positive, 0), np.int32)


def _collect(fetched: Sequence[Mapping[str, np.ndarray]], vocabulary: Vocabulary, labelled: bool) -> Answers:
    found = Answers([], [], [])
    answers = _labels if labelled else _text
    for rows in fetched:
        for row in range(len(rows["segments"])):
            for slots in _segments(rows["segments"][row]):
                targets, predictions = (rows[side][row][slots].tolist() for side in ("targets", "predictions"))
                found.targets.append(answers(targets, vocabulary))
                predicted = answers(predictions, vocabulary)
                if predicted == found.targets[-1] and predictions != targets:
                    # Other tokens that read the same, such as one that text leaves out, are another answer.
                    predicted = ["".join(vocabulary.pieces(predictions))]
                found.predictions.append(predicted)
                found.scores.append(float(rows["scores"][row][slots[-1]]))
    return found


def _labels(ids: Sequence[int], vocabulary: Vocabulary) -> list[str]:
    """Returns labels without their sets; one that the run does not know is "<unk>", of a word "B-<unk>"."""
    known = [piece.partition(":")[2] for piece in vocabulary.pieces(ids)]
    return [label or ("<unk>" if place == len(ids) - 1 else "B-<unk>") for place, label in enumerate(known)]


def _text(ids: Sequence[int], vocabulary: Vocabulary) -> list[str]:
    return [vocabulary.decode(ids)]


def _segments(segments: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the slots of each example of a row, in order."""
    for segment in range(1, int(segments.max(initial=0)) + 1):
        slots = np.flatnonzero(segments == segment)
        if len(slots):
            yield slots


def _apply(task: Any, found: Answers) -> dict[str, float]:
    values: dict[str, float] = {}
    if found.targets:
        for function in task.predict_metric_fns:
            values |= function(found.targets, found.predictions)
        for function in task.score_metric_fns:
            values |= function(found.targets, found.scores)
    return values
