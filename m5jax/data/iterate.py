"""Iteration over a tf.data dataset whose end cannot hang.

TensorFlow destroys an iterator when its last Python reference goes, holding Python's lock, and waits for the
calls of Python functions (`tf.numpy_function`) under way, which wait for that lock. Here the iterator is
handed to a staging area first and destroyed by an operation on that, which runs without the lock.
"""

import itertools
import weakref
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

_areas = itertools.count()


class DatasetIterator(Iterator[Any]):
    """Iterates over `dataset`; `checkpointed` is what `tf.train.Checkpoint` saves and restores the position of."""

    def __init__(self, dataset: tf.data.Dataset) -> None:
        self.checkpointed = iter(dataset)
        # Also runs at the end of the process, while threads of Python still can.
        weakref.finalize(self, _destroy, self.checkpointed)

    def __next__(self) -> Any:
        return next(self.checkpointed)


def _destroy(iterator: Any) -> None:
    area = f"m5jax_iterator_{next(_areas)}"
    # A collection of garbage may come while the graph of another dataset is built: these operations are not part of it.
    with tf.init_scope():
        tf.raw_ops.Stage(values=[iterator._iterator_resource], shared_name=area)
        iterator._iterator_resource = None
        tf.raw_ops.StageClear(dtypes=[tf.resource], shared_name=area)
