"""SeqIO preprocessors that make examples to learn from: pieces of long texts, masked LM, and denoising.

SeqIO draws new seeds for every pass, so each epoch has new masks (RoBERTa's dynamic masking, arXiv 1907.11692, section
4.1), and all of them follow from the one seed given to the dataset.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import seqio
import tensorflow as tf

from m5jax.data.denoising import DenoiserMixture, Tokens, denoise_text
from m5jax.data.mask_tokens import mask_tokens
from m5jax.data.masking_policy import BERT_MASKING, MaskingPolicy
from m5jax.data.vocabulary import current_vocabulary

# Python is entered once for so many examples.
_EXAMPLES_AT_ONCE = 64

InputsAndTargets = Iterable[tuple[Tokens, Tokens]]


def split_long_examples(dataset: tf.data.Dataset, sequence_length: Mapping[str, int]) -> tf.data.Dataset:
    """Cuts `inputs`, int32 [n], into consecutive pieces of `sequence_length["inputs"]` tokens, the last one shorter."""
    length = sequence_length["inputs"]

    def pieces(example: dict[str, tf.Tensor]) -> dict[str, tf.RaggedTensor]:
        size = tf.size(example["inputs"])
        splits = tf.concat([tf.range(0, size, length), [size]], axis=0)
        return {"inputs": tf.RaggedTensor.from_row_splits(example["inputs"], splits, validate=False)}

    return dataset.map(pieces, num_parallel_calls=tf.data.AUTOTUNE).unbatch()


class AlignedTargets:
    """Base of preprocessors whose `targets`, int32 [n], stand at the positions of `inputs`: 0 for no prediction."""

    @property
    def predicted_share(self) -> float:
        """The share of the tokens that is predicted, in expectation."""
        raise NotImplementedError

    def __call__(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class MaskTokens(AlignedTargets):
    """SeqIO preprocessor that masks `inputs`, int32 [n], as the tokens of the current vocabulary.

    The result has `inputs`, int32 [n], as the model reads them, and `targets`, int32 [n]: the original id at the
    chosen positions, 0 elsewhere. See `mask_tokens`.
    """

    policy: MaskingPolicy = BERT_MASKING

    @property
    def predicted_share(self) -> float:
        return self.policy.rate

    def __call__(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        word_starts = current_vocabulary().word_starts()

        def mask(texts: list[Tokens], generator: np.random.Generator) -> InputsAndTargets:
            return [mask_tokens(text, self.policy, word_starts, generator) for text in texts]

        return _from_texts(dataset, mask)


def is_masked(task: seqio.Task) -> bool:
    """Whether a task is masked LM: what it predicts are its own inputs before they were masked."""
    return any(isinstance(step, MaskTokens) for step in task.preprocessors)


@dataclasses.dataclass(frozen=True)
class Denoise:
    """SeqIO preprocessor that makes `inputs` and `targets` to write of `inputs`, int32 [n], a text without end token.

    Long texts become several examples, each within the sequence lengths once end tokens are appended.
    """

    mixture: DenoiserMixture
    sequence_length: Mapping[str, int] = dataclasses.field(default_factory=dict)  # SeqIO fills it in

    def __call__(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        inputs_length, targets_length = self.sequence_length["inputs"], self.sequence_length["targets"]

        def denoise(texts: list[Tokens], generator: np.random.Generator) -> InputsAndTargets:
            return [
                example
                for text in texts
                for example in denoise_text(text, self.mixture, inputs_length, targets_length, generator)
            ]

        return _from_texts(dataset, denoise)


def _from_texts(
    dataset: tf.data.Dataset, function: Callable[[list[Tokens], np.random.Generator], InputsAndTargets]
) -> tf.data.Dataset:
    """Returns the examples, with ragged `inputs` and `targets`, that `function` makes of a number of `inputs`."""

    def flat(batch: dict[str, tf.RaggedTensor]) -> dict[str, tf.Tensor]:
        inputs = batch["inputs"]
        if isinstance(inputs, tf.Tensor):  # all of one known length
            inputs = tf.RaggedTensor.from_tensor(inputs)
        return {"values": inputs.values, "row_splits": inputs.row_splits}

    def split(row_splits: np.ndarray, values: np.ndarray, generator: np.random.Generator) -> InputsAndTargets:
        return function(np.split(values, row_splits[1:-1]), generator)

    batches = dataset.map(lambda example: {"inputs": example["inputs"]}).ragged_batch(_EXAMPLES_AT_ONCE)
    return _examples(batches.map(flat), split)


def examples_of(
    batches: tf.data.Dataset, function: Callable[[np.ndarray, np.random.Generator], InputsAndTargets]
) -> tf.data.Dataset:
    """Returns the examples, with ragged `inputs` and `targets`, that `function` makes of each batch of strings."""
    return _examples(batches.map(lambda lines: {"lines": lines}), function)


def _examples(batches: tf.data.Dataset, function: Callable[..., InputsAndTargets]) -> tf.data.Dataset:
    """Calls `function` with each batch's arrays, in the order of their names, and a generator; unbatches the result."""

    def run(*arguments: np.ndarray) -> list[np.ndarray]:
        *batch, seed = arguments
        examples = list(function(*batch, np.random.default_rng(seed.view(np.uint32))))
        made = []
        for column in range(2):
            arrays = [example[column] for example in examples]
            made.append(np.concatenate([*arrays, np.zeros(0, np.int32)]).astype(np.int32))
            made.append(np.cumsum([0, *map(len, arrays)], dtype=np.int64))
        return made

    def transform(batch: dict[str, tf.Tensor], seed: tf.Tensor) -> dict[str, tf.RaggedTensor]:
        # Not stateful, so that the position of the iterator can be saved.
        made = tf.numpy_function(
            run, [*(batch[name] for name in sorted(batch)), seed], [tf.int32, tf.int64] * 2, stateful=False
        )
        values = [tf.ensure_shape(array, [None]) for array in made]
        return {
            "inputs": tf.RaggedTensor.from_row_splits(values[0], values[1], validate=False),
            "targets": tf.RaggedTensor.from_row_splits(values[2], values[3], validate=False),
        }

    return seqio.map_over_dataset(num_seeds=1)(transform)(batches).unbatch()
