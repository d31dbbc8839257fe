"""A corpus as SeqIO reads it: its lines, and the text of each."""

from collections.abc import Callable, Sequence

import numpy as np
import seqio
import tensorflow as tf

from m5jax.data.corpus import Corpus
from m5jax.data.serialize import serialize_line

SPLITS = ("train", "validation", "test")
# Python is entered once for so many lines.
_LINES_AT_ONCE = 64


class CorpusDataSource(seqio.TextLineDataSource):
    """The canonical lines of one language of a corpus, which `corpus` returns when they are first needed.

    Its methods raise UserError where the corpus has no such language or split.
    """

    def __init__(self, corpus: Callable[[], Corpus], language: str) -> None:
        super().__init__(split_to_filepattern=dict.fromkeys(SPLITS, ""))
        self.corpus, self.language = corpus, language

    def list_shards(self, split: str) -> Sequence[str]:
        return [str(path) for path in self.corpus().files(self.language, split)]

    def num_input_examples(self, split: str) -> int:
        return self.corpus().count(self.language, split)


def serialize_records(dataset: tf.data.Dataset, corpus: Callable[[], Corpus]) -> tf.data.Dataset:
    """SeqIO preprocessor: from canonical lines of `corpus`, scalar strings, to `inputs`, the serialized text."""
    kind = corpus().kind

    def serialize(lines: np.ndarray) -> np.ndarray:
        return np.array([serialize_line(kind, line).encode("utf-8") for line in lines], dtype=object)

    def serialize_batch(lines: tf.Tensor) -> dict[str, tf.Tensor]:
        # Not stateful, so that the position of the iterator can be saved.
        return {"inputs": tf.numpy_function(serialize, [lines], tf.string, stateful=False)}

    batches = dataset.batch(_LINES_AT_ONCE).map(serialize_batch, num_parallel_calls=tf.data.AUTOTUNE)
    return batches.unbatch().map(lambda example: {"inputs": tf.ensure_shape(example["inputs"], [])})
