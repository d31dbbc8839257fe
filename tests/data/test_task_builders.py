"""From a corpus to registered tasks."""

import json
from pathlib import Path

import numpy as np
import pytest
import seqio
import tensorflow as tf

from m5jax.data.attributes import AttributeFormat
from m5jax.data.corpus import Corpus, ingest_corpus
from m5jax.data.corpus_source import serialize_records
from m5jax.data.embedding_format import embedding_format
from m5jax.data.evaluation_batches import evaluation_batches
from m5jax.data.inspect_task import list_tasks, show_task
from m5jax.data.mixtures import add_mixture, find_tasks
from m5jax.data.records import ProductRecord
from m5jax.data.serialize import serialize_product
from m5jax.data.task_builders import OUTPUT_FEATURES, add_language_tasks, add_product_tasks
from m5jax.data.vocabulary import EOS_ID, current_vocabulary
from m5jax.errors import UserError
from tests.data.conftest import TinyCorpus


def _never() -> Corpus:
    raise AssertionError("the corpus is read")


def test_registration_reads_no_data_and_refuses_a_name_twice() -> None:
    add_language_tasks("lazy", _never, languages=("en", "pt-br"))
    assert {"lazy_en_mlm", "lazy_pt_br_mlm"} <= set(seqio.TaskRegistry.names())
    assert "lazy_mlm" in list_tasks()
    with pytest.raises(UserError, match="lazy_en_mlm is registered already"):
        add_language_tasks("lazy", _never, languages=("en",))


def test_a_mixture_needs_a_task() -> None:
    with pytest.raises(UserError, match="has no task"):
        add_mixture("nothing_mlm", [])


def test_the_steps_of_a_task_turn_records_into_masked_tokens(tiny: TinyCorpus) -> None:
    (task,) = find_tasks("tiny_de_mlm")
    dataset = task.get_dataset(
        {"inputs": 64, "targets": 64}, split="validation", shuffle=False, seed=0, trim_output_features=False
    )
    pieces = []
    for example in dataset.as_numpy_iterator():
        pieces += np.where(example["targets"] > 0, example["targets"], example["inputs"]).tolist()
    # Shards are dealt round robin and read back 16 lines of a shard at a time: compare as sets of texts.
    texts = sorted(tiny.texts["de"]["validation"])
    decoded: list[str] = []
    text: list[int] = []
    for token in pieces:
        if token == EOS_ID:
            decoded.append(current_vocabulary().decode(text))
            text = []
        else:
            text.append(token)
    assert sorted(decoded) == texts


def test_products_are_serialized_with_their_fields(tmp_path: Path) -> None:
    row = {"id": "1", "language": "en", "title": "Mug", "attributes": {"color": "red"}}
    (tmp_path / "p.jsonl").write_text(json.dumps(row) + "\n")
    corpus = ingest_corpus("p", {"train": tmp_path / "p.jsonl"}, validation_fraction=0.0, cache_dir=tmp_path)
    lines = tf.data.TextLineDataset([str(path) for path in corpus.files("en", "train")])
    (example,) = serialize_records(lines, lambda: corpus).as_numpy_iterator()
    record = ProductRecord(id="1", locale="en", language="en", title="Mug", attributes={"color": "red"})
    assert example["inputs"].decode() == serialize_product(record)


def test_products_are_embedded_as_most_tasks_of_a_run_read_them(tmp_path: Path) -> None:
    row = {"id": "1", "language": "en", "title": "Mug", "attributes": {"color": "red"}}
    (tmp_path / "p.jsonl").write_text(json.dumps(row) + "\n")

    def corpus() -> Corpus:
        return ingest_corpus("p", {"train": tmp_path / "p.jsonl"}, validation_fraction=0.0, cache_dir=tmp_path)

    add_language_tasks("embedded", corpus, languages=("en",))
    add_product_tasks("embedded", corpus, languages=("en",))
    assert embedding_format("embedded_mlm") == embedding_format("embedded_attribute_infilling") == AttributeFormat()
    assert embedding_format("embedded_typed_mlm") == AttributeFormat("typed")
    assert embedding_format("embedded_shuffled_mlm") == AttributeFormat()
    add_mixture("embedded_both", ["embedded_mlm", "embedded_typed_mlm"])
    assert embedding_format("embedded_both") == AttributeFormat()
    assert embedding_format("embedded_plain_mlm") == AttributeFormat("plain")


def test_the_graph_tokenizes_like_the_library(tiny: TinyCorpus) -> None:
    vocabulary = seqio.TaskRegistry.get("tiny_en_mlm").output_features["inputs"].vocabulary
    for text in [*tiny.texts["en"]["train"][:50], "漢字 <title> ß", ""]:
        assert vocabulary.encode_tf(tf.constant(text)).numpy().tolist() == current_vocabulary().encode([text])[0]
        assert vocabulary.encode(text) == current_vocabulary().encode([text])[0]


def test_a_language_without_data_is_named(tiny: TinyCorpus) -> None:
    with pytest.raises(UserError, match="no data in language 'fr'; allowed: de, en"):
        evaluation_batches("tiny_french_fr_mlm", length=32, batch_size=2)


def test_showing_a_task_shows_each_step(tiny: TinyCorpus) -> None:
    shown = show_task("tiny_mlm", examples=1, length=64, vocabulary=tiny.vocabulary)
    titles = [
        "p_i proportional",
        "--- record",
        "serialize_records",
        "tokenize",
        "append_eos",
        "MaskTokens",
        "packed row",
    ]
    places = [shown.index(title) for title in titles]
    assert places == sorted(places)
    assert "<mask>|" in shown
    assert "segment 1: " in shown
    assert show_task("tiny_mlm", examples=3, length=64, vocabulary=tiny.vocabulary).count("<mask>|") > shown.count(
        "<mask>|"
    )
    with pytest.raises(UserError, match="unknown task 'tiny_mlmm'; did you mean tiny_mlm"):
        show_task("tiny_mlmm", vocabulary=tiny.vocabulary)


def test_showing_a_task_of_other_features(tiny: TinyCorpus) -> None:
    """A user's own task need not be a masked-LM task."""
    seqio.TaskRegistry.add(
        "tiny_labelled",
        source=seqio.FunctionDataSource(
            lambda split, shuffle_files, seed=None: tf.data.Dataset.from_tensors({"query": "mug", "label": 3}),
            splits=["train"],
        ),
        preprocessors=[seqio.preprocessors.tokenize],
        output_features={"query": OUTPUT_FEATURES["inputs"]},
    )
    shown = show_task("tiny_labelled", vocabulary=tiny.vocabulary)
    assert "query: mug\n  label: 3" in shown
    assert "query_pretokenized: mug" in shown
    assert "packed row" not in shown
