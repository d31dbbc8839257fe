"""Masked-LM preprocessors for SeqIO: long texts into pieces, and the masks (BERT, arXiv 1810.04805, section 3.1).

SeqIO draws a new seed for every example that passes, so each epoch has new masks (RoBERTa's dynamic masking,
arXiv 1907.11692, section 4.1), and all of them follow from the one seed given to the dataset.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import seqio
import tensorflow as tf

from m5jax.data.masking_policy import BERT_MASKING, MaskingPolicy
from m5jax.data.vocabulary import FIRST_LEARNED_ID, FIRST_TEXT_ID, MASK_ID, current_vocabulary

Example = dict[str, tf.Tensor]


def split_long_examples(dataset: tf.data.Dataset, sequence_length: Mapping[str, int]) -> tf.data.Dataset:
    """Cuts `inputs`, int32 [n], into consecutive pieces of `sequence_length["inputs"]` tokens, the last one shorter."""
    length = sequence_length["inputs"]

    def pieces(example: Example) -> dict[str, tf.RaggedTensor]:
        size = tf.size(example["inputs"])
        splits = tf.concat([tf.range(0, size, length), [size]], axis=0)
        return {"inputs": tf.RaggedTensor.from_row_splits(example["inputs"], splits, validate=False)}

    return dataset.map(pieces, num_parallel_calls=tf.data.AUTOTUNE).unbatch()


@dataclasses.dataclass(frozen=True)
class MaskTokens:
    """SeqIO preprocessor that masks `inputs`, int32 [n], as the tokens of the current vocabulary.

    Of an example's m maskable tokens (text, never special ids, field tokens or the end of sequence),
    floor(rate * m + u) with u uniform in [0, 1) are chosen uniformly: rate * m in expectation and never a whole token
    away from it. Of those, 80% become <mask>, 10% a random learned token and 10% stay, unless `policy` says otherwise.

    The result has `inputs`, int32 [n], as the model reads them, and `targets`, int32 [n]: the original id at the
    chosen positions, 0 elsewhere.
    """

    policy: MaskingPolicy = BERT_MASKING

    def __call__(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        vocabulary_size = current_vocabulary().size

        def mask(example: Example, seeds: Sequence[tf.Tensor]) -> Example:
            return mask_example(example["inputs"], seeds, self.policy, vocabulary_size)

        return seqio.map_over_dataset(mask, num_seeds=2)(dataset)


def mask_example(tokens: tf.Tensor, seeds: Sequence[tf.Tensor], policy: MaskingPolicy, vocabulary_size: int) -> Example:
    """Masks one example, int32 [n]; `seeds` are two pairs of integers. See `MaskTokens`."""
    length = tf.size(tokens)
    uniform = tf.random.stateless_uniform([2, length + 1], seeds[0])
    order, action = uniform[0, :length], uniform[1, :length]
    maskable = tokens >= FIRST_TEXT_ID
    expected = policy.rate * tf.math.count_nonzero(maskable, dtype=tf.float32)
    count = tf.cast(tf.floor(expected + uniform[0, length]), tf.int32)
    # In random order with the maskable tokens first: they draw from [0, 1), the others have 2.
    positions = tf.math.top_k(-tf.where(maskable, order, 2.0), count, sorted=False).indices
    originals = tf.gather(tokens, positions)
    action = tf.gather(action, positions)
    random_tokens = tf.random.stateless_uniform([count], seeds[1], FIRST_LEARNED_ID, vocabulary_size, tf.int32)
    unchanged_or_random = tf.where(action < policy.mask_share + policy.random_share, random_tokens, originals)
    replaced = tf.where(action < policy.mask_share, MASK_ID, unchanged_or_random)
    indices = positions[:, tf.newaxis]
    return {
        "inputs": tf.tensor_scatter_nd_update(tokens, indices, replaced),
        "targets": tf.tensor_scatter_nd_update(tf.zeros_like(tokens), indices, originals),
    }
