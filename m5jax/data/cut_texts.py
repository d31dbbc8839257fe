"""Inputs and targets that are longer than their lengths: cut at their ends, said once a task, and counted."""

import collections
import logging
import threading
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from m5jax.data.vocabulary import EOS_ID

logger = logging.getLogger(__name__)

_COUNTS: collections.Counter[tuple[str, str]] = collections.Counter()
_LOCK = threading.Lock()


def cut_and_end(dataset: tf.data.Dataset, sequence_length: Mapping[str, int], task: str) -> tf.data.Dataset:
    """SeqIO preprocessor that appends the end token to `inputs` and `targets`, int32 [n], cut so that it fits.

    Args:
        dataset: of a task.
        sequence_length: of each feature, with its end token.
        task: name that what is cut is counted under.
    """

    def note(feature: bytes, size: np.ndarray) -> np.int32:
        name = feature.decode()
        with _LOCK:
            _COUNTS[task, name] += 1
            first = _COUNTS[task, name] == 1
        if first:
            logger.warning(
                "task %s: %s of %d tokens are cut to %d; others like it are counted",
                *(task, name, size + 1, sequence_length[name]),
            )
        return np.int32(0)

    def end(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        ended = {}
        for name in ("inputs", "targets"):
            tokens, room = example[name], sequence_length[name] - 1
            size = tf.size(tokens)
            # Python is entered for what is cut only. Not stateful, so that the position of the iterator can be saved.
            nothing = tf.cond(
                size > room,
                lambda name=name, size=size: tf.numpy_function(note, (name, size), tf.int32, stateful=False),
                lambda: tf.constant(0),
            )
            ended[name] = tf.concat([tokens[:room], [EOS_ID + nothing]], axis=0)
        return ended

    return dataset.map(end, num_parallel_calls=tf.data.AUTOTUNE)


def cut_counts() -> dict[tuple[str, str], int]:
    """Returns how often one was cut in this process so far, in all passes, by task and feature."""
    with _LOCK:
        return dict(_COUNTS)


def log_cut_texts() -> None:
    """Logs how often one was cut in this process so far."""
    for (task, feature), count in sorted(cut_counts().items()):
        logger.warning(
            "task %s: %s were longer than their length, and cut, %d times in all passes", task, feature, count
        )
