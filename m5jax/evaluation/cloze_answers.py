"""What a model says of blanks: all of a text's in one pass, each token by itself."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int
from tqdm import tqdm

from m5jax.data.examples import Example
from m5jax.data.vocabulary import FIRST_TEXT_ID, Vocabulary
from m5jax.errors import UserError
from m5jax.evaluation.cloze import Blank, Cloze
from m5jax.evaluation.example_batches import batches_by_length
from m5jax.models import FunctionalModel, Parameters
from m5jax.objectives import Batch
from m5jax.objectives.chunked_logits import map_logits
from m5jax.objectives.language_model import predicted_states
from m5jax.objectives.token_objective import target_logits
from partitioning import batch_sharding, batch_shards, global_batch, tree_shardings

# Batches on their way to the devices before the first is waited for.
_AT_ONCE = 16


class Answer(NamedTuple):
    """What a model says of a blank.

    Attributes:
        unit: the name of its text.
        blank: what was hidden.
        target: what stood there: a piece of the vocabulary where a token is hidden, else text.
        predicted: the likeliest, in the same form.
        correct: whether all tokens are right.
        loss: cross-entropy of what stood there, its tokens together, in nats.
    """

    unit: str
    blank: Blank
    target: str
    predicted: str
    correct: bool
    loss: float


Predict = Callable[[Parameters, Sequence[Example]], list[tuple[np.ndarray, np.ndarray]]]


def make_predict(model: FunctionalModel, mesh: Mesh, text_size: int, batch_size: int) -> Predict:
    """Returns a function from parameters and examples to the likeliest id of text, int32, and the cross-entropy of the
    target in nats, float32, at each predicted token of each example, in order.

    Args:
        model: a masked language model.
        mesh: where parameters live; its devices share the rows of a batch.
        text_size: ids from this on are no text.
        batch_size: rows in a batch, rounded up to a multiple of what the mesh divides them by.
    """

    def outputs(parameters: Parameters, batch: Batch) -> Any:
        return _outputs(model.bind(parameters), batch, text_size)

    compiled = jax.jit(
        outputs,
        in_shardings=(tree_shardings(mesh, model.abstract_parameters, model.logical_axes), batch_sharding(mesh)),
        out_shardings=NamedSharding(mesh, PartitionSpec()),
    )
    rows = -(-batch_size // batch_shards(mesh)) * batch_shards(mesh)

    def predict(parameters: Parameters, examples: Sequence[Example]) -> list[tuple[np.ndarray, np.ndarray]]:
        found = [(np.zeros(0, np.int32), np.zeros(0, np.float32))] * len(examples)
        waiting: list[tuple[np.ndarray, Any]] = []

        def fetch() -> Iterator[int]:
            for places, (ids, losses) in jax.device_get(waiting):
                for row, place in enumerate(places):
                    count = np.count_nonzero(examples[place].targets)
                    found[place] = (ids[row, :count], losses[row, :count])
                yield len(places)
            waiting.clear()

        total = sum(bool(example.targets.any()) for example in examples)
        with jax.set_mesh(mesh), tqdm(total=total, desc="predicting", unit=" texts", disable=None) as progress:
            for places, batch in batches_by_length(examples, rows):
                waiting.append((places, compiled(parameters, global_batch(mesh, batch))))
                if len(waiting) == _AT_ONCE:
                    progress.update(sum(fetch()))
            progress.update(sum(fetch()))
        return found

    return predict


def answer_clozes(
    clozes: Sequence[Cloze], predict: Predict, parameters: Parameters, vocabulary: Vocabulary
) -> list[list[Answer]]:
    """Returns the answers to the blanks of each cloze, in order.

    Raises:
        UserError: a loss is not finite.
    """
    predicted = predict(parameters, [cloze.example for cloze in clozes])
    return [
        [_answer(cloze, blank, *outputs, vocabulary) for blank in cloze.blanks]
        for cloze, outputs in zip(clozes, predicted, strict=True)
    ]


def _outputs(module: Any, batch: Batch, text_size: int) -> Any:
    def of_logits(logits: Float[Array, "batch budget vocab"], targets: Int[Array, "batch budget"]) -> Any:
        likeliest = FIRST_TEXT_ID + jnp.argmax(logits[..., FIRST_TEXT_ID:text_size], axis=-1)
        return likeliest, jax.nn.logsumexp(logits, axis=-1) - target_logits(logits, targets)

    return map_logits(module, predicted_states(module, batch, None), of_logits, batch["targets"])


def _answer(cloze: Cloze, blank: Blank, ids: np.ndarray, losses: np.ndarray, vocabulary: Vocabulary) -> Answer:
    targets = cloze.example.targets[blank.positions]
    own = np.searchsorted(np.flatnonzero(cloze.example.targets), blank.positions)
    loss = float(losses[own].sum(dtype=np.float64))
    if not np.isfinite(loss):
        raise UserError("the run's loss on held-out data is not finite, so it predicts nothing; evaluate another step")
    right, said = (_shown(blank, tokens, vocabulary) for tokens in (targets, ids[own]))
    return Answer(cloze.unit, blank, right, said, bool((ids[own] == targets).all()), loss)


def _shown(blank: Blank, tokens: np.ndarray, vocabulary: Vocabulary) -> str:
    return vocabulary.pieces(tokens)[0] if blank.hidden == "token" else vocabulary.decode(tokens.tolist()).strip()
