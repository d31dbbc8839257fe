"""What a masked language model would put in place of masks: a few held-out texts, for people to read."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from m5jax.data.batch_iterator import Batch
from m5jax.data.vocabulary import FIRST_TEXT_ID, MASK_ID, Vocabulary
from m5jax.evaluation.filled_texts import FILLS, FilledBlank, FilledText, FilledTexts
from m5jax.models import FunctionalModel, Parameters
from m5jax.objectives.chunked_logits import map_logits
from m5jax.objectives.language_model import predicted_states
from partitioning import batch_sharding, global_batch, tree_shardings

_ROWS = 4  # of packed texts, that are looked at
_TEXTS = 3  # of a language
_TOKENS = 80  # of a text, from its beginning


def make_fill(
    model: FunctionalModel, mesh: Mesh, held_out: Mapping[str, Sequence[Batch]], vocabulary: Vocabulary
) -> Callable[[Parameters], FilledTexts]:
    """Returns a function from parameters to some filled texts of each label.

    Args:
        model: a masked language model.
        mesh: where parameters live.
        held_out: this process's batches of masked LM by label, as for `make_evaluate`.
        vocabulary: of the texts.
    """
    fill = jax.jit(
        lambda parameters, batch: _likeliest(model.bind(parameters), batch, vocabulary.text_size),
        in_shardings=(tree_shardings(mesh, model.abstract_parameters, model.logical_axes), batch_sharding(mesh)),
        out_shardings=NamedSharding(mesh, PartitionSpec()),
    )

    def filled(parameters: Parameters) -> FilledTexts:
        with jax.set_mesh(mesh):
            return {
                label: _texts(jax.device_get(fill(parameters, global_batch(mesh, batches[0]))), vocabulary)
                for label, batches in held_out.items()
            }

    return filled


def _likeliest(module: Any, batch: Any, text_size: int) -> Any:
    """Returns the first rows of a batch, and ids of text and their probabilities at each predicted position."""
    hidden = predicted_states(module, batch, None)[:_ROWS]
    names = ("inputs", "segment_ids", "predicted_positions", "targets", "loss_weights")
    rows = {name: batch[name][:_ROWS] for name in names}

    def of_logits(logits: Float[Array, "rows budget vocab"], _: Array) -> Any:
        of_text = jax.nn.softmax(logits, axis=-1)[..., FIRST_TEXT_ID:text_size]
        probabilities, ids = jax.lax.top_k(of_text, FILLS)
        # One array a fill: chunks are put together again as [batch, length].
        return tuple(jnp.moveaxis(ids + FIRST_TEXT_ID, -1, 0)), tuple(jnp.moveaxis(probabilities, -1, 0))

    ids, probabilities = map_logits(module, hidden, of_logits, rows["targets"])
    return rows, jnp.stack(ids, axis=-1), jnp.stack(probabilities, axis=-1)


def _texts(filled: Any, vocabulary: Vocabulary) -> list[FilledText]:
    rows, ids, probabilities = filled
    texts: list[FilledText] = []
    for row, segments in enumerate(rows["segment_ids"]):
        slots = np.flatnonzero(rows["loss_weights"][row])
        by_position = dict(zip(rows["predicted_positions"][row, slots].tolist(), slots.tolist(), strict=True))
        for segment in range(1, int(segments.max(initial=0)) + 1):
            positions = np.flatnonzero(segments == segment)[:_TOKENS].tolist()
            masked = [at for at in positions if at in by_position and rows["inputs"][row, at] == MASK_ID]
            if not masked:
                continue
            own = [by_position[at] for at in masked]
            hidden = dict(zip(masked, vocabulary.pieces(rows["targets"][row, own]), strict=True))
            blanks = [
                FilledBlank(
                    piece, list(zip(vocabulary.pieces(ids[row, at]), probabilities[row, at].tolist(), strict=True))
                )
                for piece, at in zip(hidden.values(), own, strict=True)
            ]
            texts.append(FilledText(_with_marks(rows["inputs"][row], positions, hidden, vocabulary), blanks))
            if len(texts) == _TEXTS:
                return texts
    return texts


def _with_marks(inputs: np.ndarray, positions: Sequence[int], hidden: Mapping[int, str], vocabulary: Vocabulary) -> str:
    """Returns the text of the tokens at `positions`, with the number of each hidden piece in its place."""
    numbers = {at: number for number, at in enumerate(hidden, start=1)}
    parts = []
    for is_hidden, run in itertools.groupby(positions, lambda at: at in numbers):
        if is_hidden:
            parts += [f"{_space(hidden[at])}[{numbers[at]}]" for at in run]
        else:
            ids = inputs[list(run)].tolist()
            parts.append(_space(vocabulary.pieces(ids[:1])[0]) + vocabulary.decode(ids).strip())
    return "".join(parts).strip()


def _space(piece: str) -> str:
    return " " if piece.startswith("\u2581") else ""
