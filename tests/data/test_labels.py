"""Labels as ids after the vocabulary's: at the right tokens, none lost in packing, the same in every epoch."""

import json
from pathlib import Path

import numpy as np
import pytest
import seqio

from m5jax.data.corpus import SPLIT_KEY, Corpus, ingest_corpus
from m5jax.data.evaluation_batches import evaluation_batches
from m5jax.data.feature_converter import LanguageModelFeatureConverter
from m5jax.data.labelled_examples import intent_and_slots
from m5jax.data.labelled_tasks import add_labelled_tasks
from m5jax.data.labels import _fitting, labelling, mixture_labels
from m5jax.data.mixtures import add_mixture
from m5jax.data.pipeline import definition, training_batches
from m5jax.data.records import UtteranceRecord
from m5jax.data.token_counts import count_tokens
from m5jax.data.vocabulary import EOS_ID, UNK_ID, Vocabulary, current_vocabulary, set_current_vocabulary
from m5jax.errors import UserError
from tests.data.conftest import TinyCorpus

LENGTH = 32


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    """Registers tasks over utterances, of up to 40 words."""
    generator = np.random.default_rng(0)
    rows: list[dict[str, object]] = []
    for index in range(60):
        tokens = [["ba", "loster", "ming", "red"][i] for i in generator.integers(0, 4, 1 + index % 40)]
        tags = ["B-color" if token == "red" else "O" for token in tokens]
        rows.append({"language": "en", "tokens": tokens, "tags": tags, "intent": ["find", "buy"][index % 2]})
    directory = tmp_path_factory.mktemp("requests")
    (directory / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def corpus() -> Corpus:
        return ingest_corpus(
            "requests",
            {"train": directory / "r.jsonl", "validation": directory / "r.jsonl"},
            kind="utterance",
            cache_dir=directory,
        )

    add_labelled_tasks("requests", corpus, ("en",), "intent_and_slots")
    add_labelled_tasks("wrong", corpus, ("en",), "product_type")
    add_mixture("requests_and_text", {"requests_intent_and_slots": 1.0, "tiny_mlm": 1.0})
    return rows


@pytest.fixture
def vocabulary(tiny_corpus: TinyCorpus, requests: list[dict[str, object]]) -> Vocabulary:
    return set_current_vocabulary(tiny_corpus.vocabulary, mixture_labels("requests_intent_and_slots"))


def test_labels_come_after_the_vocabulary_and_belong_to_its_fingerprint(
    vocabulary: Vocabulary, tiny_corpus: TinyCorpus
) -> None:
    plain = Vocabulary.load(tiny_corpus.vocabulary)
    prefix = "requests_intent_and_slots:"
    assert vocabulary.labels == tuple(sorted(f"{prefix}{label}" for label in ("B-color", "O", "buy", "find")))
    assert vocabulary.size == plain.size + 4
    assert vocabulary.text_size == plain.size == len(vocabulary.word_starts())
    assert vocabulary.pieces([plain.size, EOS_ID]) == [f"{prefix}B-color", "</s>"]
    assert vocabulary.decode([plain.size]) == ""
    assert vocabulary.fingerprint != plain.fingerprint


def test_labels_stand_at_the_first_tokens_of_words_and_at_the_end(
    vocabulary: Vocabulary, requests: list[dict[str, object]]
) -> None:
    task = seqio.TaskRegistry.get("requests_en_intent_and_slots")
    examples = list(
        task.get_dataset({"inputs": 256, "targets": 256}, split="validation", shuffle=False, seed=0).as_numpy_iterator()
    )
    assert len(examples) == len(requests)
    made = [
        intent_and_slots(UtteranceRecord("en", tuple(r["tokens"]), tuple(r["tags"]), r["intent"])) for r in requests
    ]  # type: ignore[arg-type]
    expected = set()
    for labelled in made:
        ids: list[int] = []
        targets: list[int] = []
        for piece, label in labelled.pieces:
            tokens = vocabulary.encode([piece])[0]
            ids += tokens
            targets += [vocabulary.label_ids.get(f"requests_intent_and_slots:{label}", 0), *[0] * (len(tokens) - 1)]
        end = vocabulary.label_ids[f"requests_intent_and_slots:{labelled.label}"]
        expected.add((*ids, EOS_ID, *targets, end))
    assert {(*example["inputs"].tolist(), *example["targets"].tolist()) for example in examples} == expected


@pytest.mark.parametrize("length", [16, LENGTH, 128])
def test_no_label_is_lost_in_packing_and_long_texts_are_cut(
    length: int, vocabulary: Vocabulary, requests: list[dict[str, object]]
) -> None:
    packed = list(evaluation_batches("requests_en_intent_and_slots", length=length, batch_size=4))
    alone = list(evaluation_batches("requests_en_intent_and_slots", length=length, batch_size=4, pack=False))
    assert sum(b["loss_weights"].sum() for b in packed) == sum(b["loss_weights"].sum() for b in alone) > 60
    ends = vocabulary.label_ids["requests_intent_and_slots:buy"], vocabulary.label_ids["requests_intent_and_slots:find"]
    # The end token and its label are always there.
    assert sum(np.isin(b["targets"], ends).sum() for b in packed) == len(requests)
    assert sum((b["inputs"] == EOS_ID).sum() for b in packed) == len(requests)
    for batch in packed:
        assert np.isin(batch["targets"][batch["loss_weights"] > 0], list(vocabulary.label_ids.values())).all()


def test_labelled_tokens_count_for_mixing(vocabulary: Vocabulary, requests: list[dict[str, object]]) -> None:
    task = seqio.TaskRegistry.get("requests_en_intent_and_slots")
    made = [
        intent_and_slots(UtteranceRecord("en", tuple(r["tokens"]), tuple(r["tags"]), r["intent"])) for r in requests
    ]  # type: ignore[arg-type]
    tokens = sum(len(vocabulary.encode([labelled.text])[0]) + 1 for labelled in made)
    assert count_tokens(task, "train", len(requests)).tokens == tokens


def test_labels_and_masks_share_rows(tiny_corpus: TinyCorpus, requests: list[dict[str, object]]) -> None:
    vocabulary = set_current_vocabulary(tiny_corpus.vocabulary, mixture_labels("requests_and_text"))
    batches = training_batches("requests_and_text", length=64, batch_size=8, seed=0)
    batch = next(batches)
    used = batch["loss_weights"] > 0
    is_label = batch["targets"] >= vocabulary.text_size
    assert (batch["task_ids"][used & is_label] == 0).all()
    assert (batch["task_ids"][used & ~is_label] > 0).all()
    assert (used & is_label).any()
    assert (used & ~is_label).any()
    assert batch["inputs"].max() < vocabulary.text_size


def test_the_definition_names_the_step_without_addresses(vocabulary: Vocabulary) -> None:
    (steps,) = definition("requests_en_intent_and_slots", length=LENGTH, seed=0)["tasks"].values()
    assert steps == [
        "LabelExamples(make=intent_and_slots, label_set='requests_intent_and_slots', by_word=True, positive='', "
        "most=10000, sequence_length={})"
    ]


def test_the_most_frequent_labels_are_kept(tiny: TinyCorpus, requests: list[dict[str, object]]) -> None:
    import dataclasses

    step = labelling(seqio.TaskRegistry.get("requests_en_intent_and_slots"))
    assert step is not None
    few = dataclasses.replace(step, most=2)
    assert few.labels() == ["requests_intent_and_slots:B-color", "requests_intent_and_slots:O"]


def test_labels_the_run_does_not_know_are_predictions_that_nothing_answers(
    tiny_corpus: TinyCorpus, requests: list[dict[str, object]]
) -> None:
    known = [f"requests_intent_and_slots:{label}" for label in ("O", "find")]
    set_current_vocabulary(tiny_corpus.vocabulary, known)
    batches = list(evaluation_batches("requests_en_intent_and_slots", length=LENGTH, batch_size=4))
    assert sum(batch["loss_weights"].sum() for batch in batches) > 500
    assert {UNK_ID} < {int(target) for batch in batches for target in batch["targets"][batch["loss_weights"] > 0]}


def test_the_longer_product_is_cut_first(tiny: TinyCorpus) -> None:
    assert _fitting([[1] * 30, [2] * 5], 20) == [[1] * 15, [2] * 5]
    assert _fitting([[1] * 30, [2] * 25, [3] * 2], 20) == [[1] * 9, [2] * 9, [3] * 2]
    assert _fitting([[1] * 3, [2] * 4], 20) == [[1] * 3, [2] * 4]
    assert _fitting([[1] * 30], 20) == [[1] * 20]


def test_a_task_that_leaves_all_out_is_named_and_not_waited_for(tiny_corpus: TinyCorpus, tmp_path: Path) -> None:
    rows = [
        {"id": str(i), "language": language, "title": "ba lo", "category": "x" if language == "en" else ""}
        for i in range(40)
        for language in ("en", "de")
    ]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def corpus() -> Corpus:
        return ingest_corpus("bare", {"train": tmp_path / "p.jsonl"}, validation_fraction=0.3, cache_dir=tmp_path)

    add_labelled_tasks("bare", corpus, ("en", "de"), "product_type")
    set_current_vocabulary(tiny_corpus.vocabulary, mixture_labels("bare_product_type"))
    for name in ("bare_product_type", "bare_de_product_type_text"):
        with pytest.raises(UserError, match=r"bare_de_product_type\w*: none of its train records gives an example"):
            training_batches(name, length=64, targets_length=16, batch_size=2, seed=0)
    with pytest.raises(UserError, match="none of its validation records gives an example"):
        list(evaluation_batches("bare_de_product_type", length=64, batch_size=2))


def test_masks_beyond_the_budget_are_undone_beside_labels() -> None:
    converter = LanguageModelFeatureConverter({"masked": True, "labels": True}, budget=3, labelled=["labels"])
    inputs = np.array([3, 3, 3, 3, 3, 20, 21, 22], np.int32)
    targets = np.array([10, 11, 12, 13, 14, 500, 0, 501], np.int32)
    splits = np.array([0, 5, 8])
    made, predicted = converter._within_budget(inputs, splits, targets, splits, np.array([0, 1]))
    assert made.tolist() == [3, 3, 3, 13, 14, 20, 21, 22]
    assert predicted.tolist() == [10, 11, 12, 0, 0, 500, 0, 501]
    rows = converter._make_rows(inputs, splits, targets, splits, np.array([0, 1]), lengths={"inputs": 8})
    assert rows["loss_weights"].sum() == 5


def test_what_does_not_fit_is_said(tiny: TinyCorpus, requests: list[dict[str, object]]) -> None:
    assert not current_vocabulary().labels
    with pytest.raises(UserError, match="the run has no labels of 'requests_intent_and_slots'"):
        training_batches("requests_en_intent_and_slots", length=LENGTH, batch_size=2, seed=0)
    with pytest.raises(UserError, match="corpus requests holds utterance records, product records are needed"):
        mixture_labels("wrong_en_product_type")
    with pytest.raises(UserError, match="unknown family of labelled tasks 'intents'; did you mean intent_and_slots"):
        add_labelled_tasks("x", lambda: None, ("en",), "intents")  # type: ignore[arg-type, return-value]


def test_equal_split_keys_stay_together_and_a_column_may_say_the_split(tmp_path: Path) -> None:
    rows = [
        {
            "language": "en",
            "query": f"q{i % 20}",
            "product": {"title": f"p{i}"},
            "label": "E",
            "part": "dev" if i % 3 else "train",
        }
        for i in range(200)
    ]
    (tmp_path / "j.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    by_query = ingest_corpus(
        "j", {"train": tmp_path / "j.jsonl"}, kind="judgement", validation_fraction=0.3, cache_dir=tmp_path / "c"
    )
    sides = [{r.split_key for r in by_query.records("en", split)} for split in ("train", "validation")]
    assert all(sides)
    assert not sides[0] & sides[1]
    said = ingest_corpus(
        "j",
        {"train": tmp_path / "j.jsonl"},
        kind="judgement",
        column_mapping={"split": "part"},
        cache_dir=tmp_path / "c",
    )
    assert said.count("en", "validation") == sum(row["part"] == "dev" for row in rows)
    assert said.count("en", "train") == sum(row["part"] == "train" for row in rows)
    with pytest.raises(UserError, match="split 'e' is none of train, validation, test"):
        ingest_corpus(
            "j",
            {"train": tmp_path / "j.jsonl"},
            kind="judgement",
            column_mapping={"split": "label", SPLIT_KEY: "query"},
            cache_dir=tmp_path / "c",
        )
