"""Examples by record, against a task's steps on one record at a time."""

import numpy as np
import pytest
import seqio
import tensorflow as tf

from m5jax.data.curation import add_curated_task
from m5jax.data.mixtures import find_tasks
from m5jax.data.record_examples import RecordExamples, record_examples, record_task
from m5jax.data.scores import record_keys
from m5jax.errors import UserError
from tests.data.conftest import COUNTS, TinyCorpus

LENGTHS = {"mlm": (24, 0), "ul2": (64, 32), "prefix_lm": (24, 8)}


def one_at_a_time(name: str, line: bytes, lengths: dict[str, int]) -> list[dict[str, np.ndarray]]:
    task = seqio.TaskRegistry.get(name)
    steps = [step for step in task.preprocessors if not isinstance(step, seqio.CacheDatasetPlaceholder)]
    dataset = task.replace(preprocessors=steps).preprocess_postcache(
        tf.data.Dataset.from_tensors(line), lengths, seed=0
    )
    return [{feature: value.numpy() for feature, value in example.items()} for example in dataset]


def records(objective: str, split: str = "train") -> list[RecordExamples]:
    length, targets_length = LENGTHS[objective]
    return list(record_examples(f"tiny_en_{objective}", length=length, targets_length=targets_length, split=split))


@pytest.mark.parametrize("objective", LENGTHS)
def test_examples_are_those_of_each_record_alone(tiny: TinyCorpus, objective: str) -> None:
    length, targets_length = LENGTHS[objective]
    aligned = not targets_length
    lengths = {"inputs": length - targets_length, "targets": targets_length or length}
    task = seqio.TaskRegistry.get(f"tiny_en_{objective}")
    lines = [line.numpy() for line in task.source.get_dataset("train", shuffle=False)]
    found = records(objective)
    assert [record.key for record in found] == record_keys(lines).tolist()
    assert len({record.key for record in found}) == COUNTS["en"]["train"]
    assert max(len(record.examples) for record in found) > 1  # long texts are several
    for line, record in list(zip(lines, found, strict=True))[::24]:
        expected = one_at_a_time(task.name, line, lengths)
        assert len(record.examples) == len(expected)
        for example, alone in zip(record.examples, expected, strict=True):
            if aligned:
                np.testing.assert_array_equal(example.inputs, alone["inputs"])
                np.testing.assert_array_equal(example.targets, alone["targets"])
                assert example.bidirectional.all()
            else:
                size = len(alone["inputs"])
                np.testing.assert_array_equal(example.inputs[:size], alone["inputs"])
                np.testing.assert_array_equal(example.inputs[size:], alone["targets"][:-1])
                np.testing.assert_array_equal(example.targets[size - 1 :], alone["targets"])
                assert example.bidirectional.sum() == size


def test_every_call_gives_the_same(tiny: TinyCorpus) -> None:
    for one, other in zip(records("mlm", "validation"), records("mlm", "validation"), strict=True):
        assert one.key == other.key
        for first, second in zip(one.examples, other.examples, strict=True):
            np.testing.assert_array_equal(first.targets, second.targets)


def test_what_has_no_records_of_its_own_is_refused(tiny: TinyCorpus) -> None:
    with pytest.raises(UserError, match="tiny_mlm is a mixture; score its tasks: tiny_de_mlm, tiny_en_mlm"):
        record_task("tiny_mlm")
    add_curated_task("tiny_curated_to_score", "tiny_en_mlm", "scores.parquet")
    with pytest.raises(UserError, match="is curated; score the task that it was made of"):
        record_task("tiny_curated_to_score")
    other = find_tasks("tiny_en_mlm")[0].replace(
        name="tiny_function",
        source=seqio.FunctionDataSource(lambda split, shuffle_files: tf.data.Dataset.range(3), splits=["train"]),
    )
    seqio.TaskRegistry.add_provider("tiny_function", other)
    with pytest.raises(UserError, match="reads no corpus"):
        record_task("tiny_function")
    with pytest.raises(UserError, match="the row length is 4"):
        record_examples("tiny_en_mlm", length=4, targets_length=0, split="train")
