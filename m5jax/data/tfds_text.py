"""Tasks over texts in TensorFlow Datasets, read where they lie.

For corpora that are too large to be ingested: nothing is copied, counted or checked beforehand, and the number of
records is what the data set's own metadata say.
"""

import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import seqio
import tensorflow as tf
import tensorflow_datasets as tfds

from m5jax.data.mixtures import add_mixture, check_free
from m5jax.data.serialize import neutralize
from m5jax.data.task_builders import OBJECTIVES, OUTPUT_FEATURES, Preprocessor, task_name
from m5jax.errors import UserError

# Python is entered once for so many texts.
_TEXTS_AT_ONCE = 64


class TfdsTextSource(seqio.TfdsDataSource):
    """The texts of one language in a prepared TensorFlow data set, which is looked up when they are first needed.

    Its methods raise UserError where the data set is not prepared on this machine, or has no such split.

    Args:
        builder: name and configuration, such as "c4/en"; without a version, the newest that is prepared.
        language: of its texts.
        splits: by our name of a split ("train", "validation"), what TFDS calls it: a split or a slice of one.
        how_to_get: for the error, one clause: a command and a size.
        feature: the one that holds the text.
    """

    def __init__(
        self, builder: str, language: str, splits: Mapping[str, str], how_to_get: str, feature: str = "text"
    ) -> None:
        super().__init__(tfds_name=builder, splits=dict(splits), read_only=True)
        self.language, self.feature = language, feature
        self._name, self._how_to_get, self._tfds_splits = builder, how_to_get, dict(splits)

    @property
    def identity(self) -> str:
        """Name, configuration and version of what is prepared here."""
        return str(self._builder().info.full_name)

    def num_input_examples(self, split: str) -> int:
        splits, name = self._builder().info.splits, self._tfds_splits[split]
        if name.partition("[")[0] not in splits:
            raise UserError(f"{self._name} has no split {name!r}; splits there: {', '.join(sorted(splits)[:20])}")
        return int(splits[name].num_examples)

    def list_shards(self, split: str) -> Sequence[str]:
        self._builder()
        return list(super().list_shards(split))

    def get_dataset(self, split: str | None = None, *arguments: object, **settings: object) -> tf.data.Dataset:
        """Returns `{feature: scalar string}` of each record of a split."""
        builder = self._builder()
        if self.feature not in builder.info.features:
            features = ", ".join(sorted(builder.info.features))
            raise UserError(f"{self._name} has no feature {self.feature!r}; it has {features}")
        dataset = super().get_dataset(split, *arguments, **settings)
        return dataset.map(lambda example: {self.feature: example[self.feature]}, num_parallel_calls=tf.data.AUTOTUNE)

    def _builder(self) -> tfds.core.DatasetBuilder:
        try:
            builder = self.tfds_dataset.builder
        except (tfds.core.DatasetNotFoundError, ValueError, AssertionError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise UserError(f"this version of TensorFlow Datasets cannot read {self._name}: {reason}") from error
        if not builder.info.splits:
            # A builder remembers what it found; the data set may be prepared while this process lives.
            seqio.utils.LazyTfdsLoader._MEMOIZED_BUILDERS.clear()
            raise UserError(
                f"{self._name} is not prepared: nothing in {builder.data_path} (TFDS_DATA_DIR names another folder); "
                f"{self._how_to_get}"
            )
        return builder


def serialize_texts(dataset: tf.data.Dataset, feature: str = "text") -> tf.data.Dataset:
    """SeqIO preprocessor: from `{feature: scalar string}` to `inputs`, the text as a text record is serialized.

    Texts without a character, and bytes that are not UTF-8 within one, are left out.
    """

    def serialize(texts: np.ndarray) -> np.ndarray:
        cleaned = (neutralize(text.decode("utf-8", errors="ignore")) for text in texts)
        return np.array([text.encode("utf-8") for text in cleaned if text], dtype=object)

    def transform(texts: tf.Tensor) -> dict[str, tf.Tensor]:
        # Not stateful, so that the position of the iterator can be saved.
        return {"inputs": tf.ensure_shape(tf.numpy_function(serialize, [texts], tf.string, stateful=False), [None])}

    texts = dataset.map(lambda example: example[feature]).batch(_TEXTS_AT_ONCE)
    return texts.map(transform, num_parallel_calls=tf.data.AUTOTUNE).unbatch()


def add_tfds_text_tasks(
    name: str,
    sources: Sequence[TfdsTextSource],
    objectives: Mapping[str, Sequence[Callable[..., tf.data.Dataset]]] = OBJECTIVES,
) -> None:
    """Registers, for each objective, the task `NAME_LANGUAGE_OBJECTIVE` of each source and their mixture
    `NAME_OBJECTIVE`. Reads nothing.

    Raises:
        UserError: a name is taken.
    """
    for objective, steps in objectives.items():
        for source in sources:
            _add_task(task_name(name, source.language, objective), source, steps)
        add_mixture(f"{name}_{objective}", [task_name(name, source.language, objective) for source in sources])


def _add_task(name: str, source: TfdsTextSource, objective: Sequence[Preprocessor]) -> None:
    check_free(name)
    seqio.TaskRegistry.add(
        name,
        source=source,
        preprocessors=[
            functools.partial(serialize_texts, feature=source.feature),
            functools.partial(seqio.preprocessors.tokenize, copy_pretokenized=False),
            seqio.CacheDatasetPlaceholder(),
            *objective,
        ],
        output_features=OUTPUT_FEATURES,
    )
