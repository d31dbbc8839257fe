"""What does not fit is cut, with its end token, and counted under its task's name."""

import logging
import re

import numpy as np
import pytest
import tensorflow as tf

from m5jax.data.cut_texts import cut_and_end, cut_counts, log_cut_texts
from m5jax.data.vocabulary import EOS_ID


def ended(rows: list[tuple[list[int], list[int]]], task: str) -> list[tuple[list[int], list[int]]]:
    def examples():
        for inputs, targets in rows:
            yield {"inputs": np.array(inputs, np.int32), "targets": np.array(targets, np.int32)}

    signature = dict.fromkeys(("inputs", "targets"), tf.TensorSpec([None], tf.int32))
    dataset = tf.data.Dataset.from_generator(examples, output_signature=signature)
    found = cut_and_end(dataset, {"inputs": 5, "targets": 3}, task)
    return [(row["inputs"].tolist(), row["targets"].tolist()) for row in found.as_numpy_iterator()]


def test_what_fits_is_ended_and_what_does_not_is_cut_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    rows = [([7, 8, 9, 10], [7, 8]), ([7, 8, 9, 10, 11], [7]), ([7], [7, 8, 9]), ([7] * 9, [8] * 9), ([], [])]
    with caplog.at_level(logging.WARNING):
        assert ended(rows, "a_task") == [
            ([7, 8, 9, 10, EOS_ID], [7, 8, EOS_ID]),
            ([7, 8, 9, 10, EOS_ID], [7, EOS_ID]),
            ([7, EOS_ID], [7, 8, EOS_ID]),
            ([7, 7, 7, 7, EOS_ID], [8, 8, EOS_ID]),
            ([EOS_ID], [EOS_ID]),
        ]
    assert cut_counts()["a_task", "inputs"] == 2
    assert cut_counts()["a_task", "targets"] == 2
    said = sorted(record.getMessage().split(";")[0] for record in caplog.records)
    # Examples are taken in parallel: either of the two may be the first.
    assert len(said) == 2
    assert re.fullmatch(r"task a_task: inputs of (6|10) tokens are cut to 5", said[0])
    assert re.fullmatch(r"task a_task: targets of (4|10) tokens are cut to 3", said[1])
    ended([([7], [8])], "another_task")
    assert not any(task == "another_task" for task, _ in cut_counts())
    caplog.clear()
    log_cut_texts()
    assert "task a_task: inputs were longer than their length, and cut, 2 times in all passes" in caplog.text
