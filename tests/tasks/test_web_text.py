"""C4, mC4 and Wikipedia: batches in their real schema, from data sets of a few records."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import seqio
import tensorflow as tf
import tensorflow_datasets as tfds

import tasks.web_text
from m5jax.data.default_vocabulary import default_vocabulary
from m5jax.data.evaluation_batches import evaluation_batches
from m5jax.data.inspect_task import list_tasks
from m5jax.data.mixing import Proportional, UniMax
from m5jax.data.mixtures import find_tasks, mixture_rates, record_count
from m5jax.data.pipeline import training_batches
from m5jax.data.serialize import neutralize
from m5jax.data.task_builders import OBJECTIVES
from m5jax.data.tfds_text import TfdsTextSource, add_tfds_text_tasks
from m5jax.data.vocabulary import set_current_vocabulary
from m5jax.errors import UserError
from tests.tasks.tfds_fixtures import prepare

C4_FEATURES = ("text", "url", "content-type", "content-length", "timestamp")
TEXTS = {
    "en": "The kettle <mask> boils\n\nwater number {}, quickly and without noise.",
    "de": "Der Wasserkocher Nummer {} kocht schnell; überaus leise.",
    "ar": "الغلاية رقم {} تغلي الماء بسرعة وبدون ضوضاء.",
}
LENGTHS = {"length": 64, "targets_length": 24}


def page(language: str, number: int) -> dict[str, str]:
    others = dict.fromkeys(C4_FEATURES[1:], "")
    return {"text": TEXTS[language].format(number), **others, "url": f"https://example.org/{number}"}


def article(language: str, number: int) -> dict[str, str]:
    return {"title": f"{number}", "text": TEXTS[language].format(number)}


@pytest.fixture(scope="module")
def data_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tensorflow_datasets")
    counts = {"en": 400, "de": 200, "ar": 100}
    c4 = {"train": [page("en", k) for k in range(300)], "validation": [page("en", k) for k in range(20)]}
    prepare(directory, "c4/en:3.0.1", C4_FEATURES, c4)
    mc4 = {language: [page(language, k) for k in range(count)] for language, count in counts.items()}
    held_out = {f"{language}-validation": [page(language, k) for k in range(10)] for language in counts}
    prepare(directory, "c4/multilingual:3.1.0", C4_FEATURES, {**mc4, **held_out})
    articles = {"train": [article("de", k) for k in range(500)]}
    prepare(directory, f"wikipedia/{tasks.web_text.WIKIPEDIA_DUMP}.de:1.0.0", ("title", "text"), articles)
    return directory


def use_directory(directory: Path | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has TFDS look into a folder, as TFDS_DATA_DIR does for a process that starts with it."""
    monkeypatch.setattr(seqio.utils.LazyTfdsLoader, "_MEMOIZED_BUILDERS", {})
    monkeypatch.setattr(seqio.utils, "_TFDS_DATA_DIR_OVERRIDE", directory and str(directory))
    for source in (tasks.web_text._C4_EN, *tasks.web_text._MC4, *tasks.web_text._WIKIPEDIA):
        monkeypatch.setattr(source.tfds_dataset, "_data_dir_override", None)


@pytest.fixture
def prepared(data_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_current_vocabulary(default_vocabulary("embedded_catalog_mlm"))
    use_directory(data_directory, monkeypatch)


FAMILIES = ("c4_en", "mc4_de", "mc4_ar", "wikipedia_de")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_of_each_family(prepared: None, family: str) -> None:
    for objective in ("mlm", "ul2"):
        batch = next(training_batches(f"{family}_{objective}", batch_size=4, seed=0, **LENGTHS))
        assert batch["inputs"].shape == (4, 64)
        assert batch["loss_weights"].sum() > 0
        held_out = list(evaluation_batches(f"{family}_{objective}", batch_size=4, **LENGTHS))
        assert sum(batch["loss_weights"].sum() for batch in held_out) > 0


def test_texts_are_serialized_like_text_records(prepared: None) -> None:
    (task,) = find_tasks("c4_en_mlm")
    dataset = task.preprocessors[0](task.source.get_dataset("validation", shuffle=False))
    texts = sorted(example["inputs"].decode() for example in dataset.as_numpy_iterator())
    assert texts == sorted(neutralize(TEXTS["en"].format(k)) for k in range(20))
    assert "< mask> boils water" in texts[0]


def test_counts_are_those_of_the_metadata(prepared: None) -> None:
    assert record_count(find_tasks("c4_en_mlm")[0], "train") == 300
    assert record_count(find_tasks("mc4_de_ul2")[0], "validation") == 10
    wikipedia = find_tasks("wikipedia_de_mlm")[0]
    assert (record_count(wikipedia, "train"), record_count(wikipedia, "validation")) == (495, 5)
    # What is prepared is used, also where it is not the version this TFDS would make.
    assert find_tasks("c4_en_mlm")[0].source.identity == "c4/en/3.0.1"


def test_a_mixture_of_languages(prepared: None) -> None:
    sources = {source.language: source for source in tasks.web_text._MC4}
    add_tfds_text_tasks("three", [sources[language] for language in ("en", "de", "ar")], {"mlm": OBJECTIVES["mlm"]})
    rates = mixture_rates("three_mlm", Proportional(1.0))
    assert rates == pytest.approx({"three_ar_mlm": 1 / 7, "three_de_mlm": 2 / 7, "three_en_mlm": 4 / 7})
    assert mixture_rates("three_mlm", UniMax(10_000, 1.0, "examples")) == pytest.approx(rates)
    with pytest.raises(UserError, match="three_en_mlm reads no corpus, so its bytes are not known; mix by examples"):
        mixture_rates("three_mlm", Proportional(1.0, unit="bytes"))
    batches = training_batches("three_mlm", length=64, batch_size=8, seed=0, mixing=Proportional(0.5))
    seen = np.concatenate([batch["task_ids"][batch["loss_weights"] > 0] for batch in take(batches, 5)])
    assert set(seen.tolist()) == {0, 1, 2}
    # All languages need their data: the first that has none is named, and how to get it.
    with pytest.raises(UserError, match="c4/multilingual.* has no split 'af'; splits there: ar, ar-validation"):
        mixture_rates("mc4_mlm")


def take(batches: Any, count: int) -> list[dict[str, np.ndarray]]:
    return [next(batches) for _ in range(count)]


@pytest.mark.parametrize("task", ["mc4_de_mlm", "wikipedia_de_span_corruption"])
def test_a_position_resumes(prepared: None, tmp_path: Path, task: str) -> None:
    batches = training_batches(task, batch_size=4, seed=3, **LENGTHS)
    take(batches, 3)
    batches.save(tmp_path / "position")
    # Past the end of the first epoch.
    expected = take(batches, 60)
    restored = training_batches(task, batch_size=4, seed=3, **LENGTHS)
    restored.restore(tmp_path / "position")
    for one, other in zip(expected, take(restored, 60), strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)


def test_hosts_read_different_records(prepared: None) -> None:
    (task,) = find_tasks("mc4_de_mlm")
    halves = []
    for index in range(2):
        examples = task.get_dataset(
            {"inputs": 64, "targets": 64},
            split="train",
            shuffle=False,
            shard_info=seqio.ShardInfo(index, 2),
            trim_output_features=False,
            seed=0,
        )
        pairs = [(example["inputs"], example["targets"]) for example in examples.as_numpy_iterator()]
        halves.append({np.where(targets > 0, targets, inputs).tobytes() for inputs, targets in pairs})
    assert [len(half) for half in halves] == [100, 100]
    assert not halves[0] & halves[1]


def test_with_mock_data_of_tensorflow_datasets(data_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The schema is the builder's own, not this test's: whatever `c4.py` declares is what is drawn at random."""
    set_current_vocabulary(default_vocabulary("embedded_catalog_mlm"))
    use_directory(None, monkeypatch)
    for name, features in (("c4_en_mlm", C4_FEATURES), ("wikipedia_de_mlm", ("title", "text"))):
        with tfds.testing.mock_data(num_examples=50, data_dir=str(data_directory)):
            source = find_tasks(name)[0].source
            assert set(features) <= set(source._builder().info.features)
            batch = next(training_batches(name, length=64, batch_size=2, seed=0))
            assert batch["loss_weights"].sum() > 0


@pytest.mark.parametrize("builder", ["c4/en:3.*.*", "c4/multilingual:3.*.*", "wikipedia/20230601.he:1.*.*"])
def test_the_builders_exist_with_these_features(builder: str, tmp_path: Path) -> None:
    declared = tfds.builder(builder, data_dir=str(tmp_path))
    assert "text" in declared.info.features
    if "multilingual" in builder:
        assert set(tasks.web_text.MC4_LANGUAGES) == set(declared.builder_config.languages)
        assert len({language.partition("-")[0] for language in tasks.web_text.MC4_LANGUAGES}) == 101


def test_wikipedia_has_all_of_the_languages() -> None:
    from tensorflow_datasets.text.wikipedia import Wikipedia

    known = {configuration.name for configuration in Wikipedia.BUILDER_CONFIGS}
    assert {f"{tasks.web_text.WIKIPEDIA_DUMP}.{code}" for code in tasks.web_text.WIKIPEDIA_LANGUAGES} <= known


def test_what_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_directory(tmp_path, monkeypatch)
    for name, command in (
        ("c4_en_mlm", "tfds build c4 --config=en"),
        ("mc4_sw_ul2", "tfds build c4 --config=multilingual"),
        ("wikipedia_he_mlm", "tfds build wikipedia --config=20230601.he"),
    ):
        with pytest.raises(UserError, match=command) as caught:
            training_batches(name, batch_size=2, seed=0, **LENGTHS)
        assert "\n" not in str(caught.value)
        assert "is not prepared" in str(caught.value)


def test_a_wrong_feature_split_or_data_set_is_named(prepared: None) -> None:
    def source(builder: str, split: str = "train", feature: str = "text") -> TfdsTextSource:
        return TfdsTextSource(builder, "en", {"train": split}, "nowhere", feature)

    with pytest.raises(UserError, match="no feature 'body'; it has content-length, content-type, text"):
        source("c4/en:3.*.*", feature="body").get_dataset("train")
    with pytest.raises(UserError, match="has no split 'training'; splits there: train, validation"):
        source("c4/en:3.*.*", "training").num_input_examples("train")
    with pytest.raises(UserError, match="cannot read c5/en:1"):
        source("c5/en:1.*.*").num_input_examples("train")


def test_the_list_stays_readable() -> None:
    listed = list_tasks().splitlines()
    assert len(listed) < 400
    assert "  mc4_mlm: mc4_af_mlm, mc4_am_mlm, mc4_ar_mlm, mc4_az_mlm, ... (107 tasks)" in listed
    assert "  mc4_bg_latn_ul2" in list_tasks("mc4_bg").splitlines()


def test_bytes_that_are_no_text_leave_nothing() -> None:
    from m5jax.data.tfds_text import serialize_texts

    dataset = tf.data.Dataset.from_tensor_slices({"text": [b"a\xff b", b" \n", b"", b"c"]})
    assert [e["inputs"] for e in serialize_texts(dataset).as_numpy_iterator()] == [b"a b", b"c"]
