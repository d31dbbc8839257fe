"""A corpus as SeqIO reads it: its lines, and the text of each."""

from collections.abc import Callable, Sequence

import numpy as np
import seqio
import tensorflow as tf

from m5jax.data.attributes import SEPARATORS, AttributeFormat
from m5jax.data.corpus import Corpus
from m5jax.data.product_pairs import MakePair
from m5jax.data.records import RECORDS, ProductRecord
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

    @property
    def identity(self) -> str:
        """The corpus with the fingerprint of its input."""
        return self.corpus().directory.name

    def list_shards(self, split: str) -> Sequence[str]:
        return [str(path) for path in self.corpus().files(self.language, split)]

    def num_input_examples(self, split: str) -> int:
        return self.corpus().count(self.language, split)

    def utf8_bytes(self, split: str) -> int:
        """Returns the size of the records."""
        return self.corpus().utf8_bytes(self.language, split)


def serialize_records(
    dataset: tf.data.Dataset, corpus: Callable[[], Corpus], attributes: AttributeFormat = SEPARATORS
) -> tf.data.Dataset:
    """SeqIO preprocessor: from canonical lines of `corpus`, scalar strings, to `inputs`, the serialized text."""
    kind = corpus().kind
    attributes = attributes.for_corpus(corpus()) if kind == "product" else attributes

    def serialize(lines: np.ndarray, generator: np.random.Generator) -> list[list[str]]:
        if kind != "product" or attributes == SEPARATORS:
            return [[serialize_line(kind, line) for line in lines]]
        return [[attributes.text(ProductRecord.from_json(line), generator) for line in lines]]

    return _from_lines(dataset, serialize, ("inputs",))


def serialize_pairs(dataset: tf.data.Dataset, corpus: Callable[[], Corpus], make: MakePair) -> tf.data.Dataset:
    """SeqIO preprocessor: from canonical lines to the `inputs` and `targets` texts that `make` gives of each record.

    Records that it gives None for are left out.
    """
    from_json = RECORDS[corpus().kind].from_json

    def serialize(lines: np.ndarray, generator: np.random.Generator) -> list[list[str]]:
        pairs = [pair for line in lines if (pair := make(from_json(line))) is not None]
        return [[pair[side] for pair in pairs] for side in range(2)]

    return _from_lines(dataset, serialize, ("inputs", "targets"))


def _from_lines(
    dataset: tf.data.Dataset,
    serialize: Callable[[np.ndarray, np.random.Generator], list[list[str]]],
    names: Sequence[str],
) -> tf.data.Dataset:
    def run(lines: np.ndarray, seed: np.ndarray) -> list[np.ndarray]:
        columns = serialize(lines, np.random.default_rng(seed.view(np.uint32)))
        return [np.array([text.encode("utf-8") for text in column], dtype=object) for column in columns]

    def transform(lines: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        # Not stateful, so that the position of the iterator can be saved.
        columns = tf.numpy_function(run, [lines, seed], [tf.string] * len(names), stateful=False)
        return {name: tf.ensure_shape(column, [None]) for name, column in zip(names, columns, strict=True)}

    return seqio.map_over_dataset(num_seeds=1)(transform)(dataset.batch(_LINES_AT_ONCE)).unbatch()
