"""Iterators over datasets that call Python end, and free what they hold, whatever is under way."""

import os
import subprocess
import sys
import time
from pathlib import Path

import tensorflow as tf

from m5jax.data.iterate import DatasetIterator

LEAVE_IN_THE_MIDDLE = """
import tensorflow as tf
from m5jax.data.iterate import DatasetIterator

def busy(x):
    return x + sum(range(20_000)) * 0

numbers = tf.data.Dataset.range(10**9).map(
    lambda x: tf.numpy_function(busy, [x], tf.int64, stateful=False), num_parallel_calls=4
)
iterators = [DatasetIterator(numbers.batch(8).prefetch(2)) for _ in range(4)]
print([next(iterator).numpy()[0] for iterator in iterators])
"""


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def own_pool(dataset: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    options.threading.private_threadpool_size = 5
    return dataset.with_options(options)


def test_an_iterator_that_is_dropped_frees_its_threads() -> None:
    dataset = own_pool(tf.data.Dataset.range(10**9).map(lambda x: tf.numpy_function(abs, [x], tf.int64), 4).prefetch(2))
    next(DatasetIterator(dataset))
    before = threads()
    kept = [DatasetIterator(dataset) for _ in range(5)]
    assert [int(next(iterator)) for iterator in kept] == [0] * 5
    assert threads() >= before + 20
    del kept
    deadline = time.monotonic() + 30
    while threads() > before + 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threads() <= before + 4


def test_a_process_ends_with_iterators_at_work() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEAVE_IN_THE_MIDDLE], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[np.int64(0), np.int64(0), np.int64(0), np.int64(0)]"


def test_an_iterator_that_is_collected_while_a_graph_is_built_is_not_part_of_it(tmp_path: Path) -> None:
    """Garbage is collected at any time; a dataset with its operations could not be saved."""
    kept = [DatasetIterator(tf.data.Dataset.range(3))]

    def traced(number: tf.Tensor) -> tf.Tensor:
        kept.clear()
        return number + 1

    iterator = DatasetIterator(tf.data.Dataset.range(3).map(traced))
    assert int(next(iterator)) == 1
    tf.train.Checkpoint(iterator=iterator.checkpointed).write(str(tmp_path / "position"))
