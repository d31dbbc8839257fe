"""The offline cache of a task: the same examples, and refused where it is not of this task, vocabulary and input."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import seqio

from m5jax.data.attributes import AttributeFormat
from m5jax.data.corpus import ingest_corpus
from m5jax.data.pipeline import training_batches
from m5jax.data.preparation.cache_tasks import cache_tasks
from m5jax.data.task_builders import OBJECTIVES, add_task
from m5jax.data.vocabulary import set_current_vocabulary, train_vocabulary
from m5jax.errors import UserError
from tests.data.conftest import COUNTS, TinyCorpus

TASK = "tiny_en_mlm"


@pytest.fixture(scope="module")
def made(tiny_corpus: TinyCorpus, tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("caches")
    cached = cache_tasks("tiny_mlm", directory, vocabulary=tiny_corpus.vocabulary)
    assert cached == {f"tiny_{language}_mlm": sum(splits.values()) for language, splits in COUNTS.items()}
    return directory


@pytest.fixture
def caches(made: Path, tiny: TinyCorpus, tmp_path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(made, tmp_path / "caches")


def batches(caches: Path | str, task: str = TASK, **arguments):
    return training_batches(task, length=512, batch_size=4, seed=3, cache_dir=caches, **arguments)


def original_texts(iterator, count: int) -> set[tuple[int, ...]]:
    """Returns the unmasked token ids of so many batches' examples."""
    texts = set()
    for _ in range(count):
        batch = next(iterator)
        ids = batch["inputs"].copy()
        for row, (positions, targets, weights) in enumerate(
            zip(batch["predicted_positions"], batch["targets"], batch["loss_weights"], strict=True)
        ):
            ids[row, positions[weights > 0]] = targets[weights > 0]
            for segment in range(1, batch["segment_ids"][row].max() + 1):
                texts.add(tuple(ids[row][batch["segment_ids"][row] == segment].tolist()))
    return texts


def test_training_reads_the_same_texts_from_the_cache(caches, tiny):
    live, cached = (original_texts(batches(directory), 60) for directory in ("", caches))
    assert len(live) == COUNTS["en"]["train"]
    assert cached == live


def test_a_mixture_reads_the_cache_of_each_task_and_goes_on_where_it_stopped(caches, tmp_path):
    first = batches(caches, "tiny_mlm")
    next(first)
    first.save(tmp_path / "position")
    expected = next(first)
    again = batches(caches, "tiny_mlm")
    again.restore(tmp_path / "position")
    for name, value in next(again).items():
        np.testing.assert_array_equal(value, expected[name])
    with pytest.raises(UserError, match="another pipeline: caches was"):
        batches("", "tiny_mlm").restore(tmp_path / "position")


def test_another_vocabulary_is_refused(caches, tiny, tmp_path):
    texts = {language: tiny.texts[language]["train"] for language in tiny.texts}
    counts = {language: len(lines) for language, lines in texts.items()}
    train_vocabulary(texts, counts, size=560, output=tmp_path / "other.model")
    set_current_vocabulary(tmp_path / "other.model")
    with pytest.raises(UserError, match=r"made with another definition: vocabulary was \w+, is \w+; make it again"):
        batches(caches)


def test_other_steps_and_other_records_are_refused(caches, tiny, tmp_path, monkeypatch):
    path = caches / TASK / "definition.json"
    made = json.loads(path.read_text(encoding="utf-8"))
    assert made["steps"] == [
        "serialize_records(attributes=AttributeFormat(style='separators', shuffled=False, dropout=0.0, min_count=20, "
        "names=(), enumerations=()))",
        "tokenize(copy_pretokenized=False)",
    ]
    for name, value in (("steps", ["tokenize"]), ("records", "another corpus"), ("version", 0)):
        path.write_text(json.dumps({**made, name: value}), encoding="utf-8")
        with pytest.raises(UserError, match=f"another definition: {name} was"):
            batches(caches)


def test_a_missing_or_truncated_shard_is_one_line(caches):
    shard = sorted((caches / TASK).glob("train.tfrecord-*"))[3]
    data = shard.read_bytes()
    shard.write_bytes(data[:-3])
    with pytest.raises(
        UserError, match=rf"damaged: its shard {shard.name} has {len(data) - 3} bytes, {len(data)} were"
    ):
        batches(caches)
    shard.unlink()
    with pytest.raises(UserError, match=f"not whole: its shard {shard.name} is missing"):
        batches(caches)
    (caches / TASK / "definition.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"definition\.json is damaged"):
        batches(caches)


def test_what_is_not_there_is_named(caches, tiny, tmp_path):
    with pytest.raises(UserError, match=f"no cache of task {TASK}; m5jax data cache --task={TASK} makes one"):
        batches(tmp_path / "nowhere")
    with pytest.raises(UserError, match="exists; remove it or choose another --output_cache_dir"):
        cache_tasks(TASK, caches, vocabulary=tiny.vocabulary)


@seqio.map_over_dataset
def as_inputs(line):
    return {"inputs": line}


def test_a_changed_file_of_a_users_own_source_is_refused(tmp_path, tiny):
    source = tmp_path / "lines.txt"
    source.write_text("a red lamp\n" * 20, encoding="utf-8")
    cached = seqio.TaskRegistry.get(TASK)
    seqio.TaskRegistry.add(
        "own_source",
        source=seqio.TextLineDataSource({"train": str(source)}, num_input_examples={"train": 20}),
        preprocessors=[as_inputs, *cached.preprocessors[1:]],
        output_features=cached.output_features,
    )
    cache_tasks("own_source", tmp_path / "caches", vocabulary=tiny.vocabulary)
    assert next(batches(tmp_path / "caches", "own_source"))["segment_ids"].any()
    source.write_text("a blue lamp\n" * 20, encoding="utf-8")
    with pytest.raises(UserError, match=r"another definition: records was .*lines\.txt"):
        batches(tmp_path / "caches", "own_source")


def test_random_steps_are_never_cached(tmp_path):
    seqio.TaskRegistry.add(
        "uncacheable",
        source=seqio.FunctionDataSource(lambda split, shuffle_files: None, splits=["train"]),
        preprocessors=[],
        output_features={},
    )
    with pytest.raises(UserError, match="task uncacheable cannot be cached"):
        cache_tasks("uncacheable", tmp_path)

    def corpus():
        return ingest_corpus("never", {"train": tmp_path / "none.jsonl"})

    for index, attributes in enumerate((AttributeFormat(shuffled=True), AttributeFormat(dropout=0.1))):
        add_task(f"random_attributes_{index}", corpus, "en", OBJECTIVES["mlm"], attributes)
        assert not seqio.TaskRegistry.get(f"random_attributes_{index}").supports_caching
