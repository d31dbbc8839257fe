"""The live pipeline: what is in the batches, how tasks are mixed, and that a position comes back to the bit."""

import collections
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import seqio
import tensorflow as tf
from scipy import stats

from m5jax.data.attributes import AttributeFormat
from m5jax.data.batch_iterator import Batch, BatchIterator
from m5jax.data.evaluation_batches import evaluation_batches, evaluation_tasks
from m5jax.data.masking_policy import MaskingPolicy
from m5jax.data.mixing import Proportional
from m5jax.data.mixtures import add_mixture, find_tasks, mixture_rates
from m5jax.data.packing import prediction_budget
from m5jax.data.pipeline import definition, mix_examples, training_batches
from m5jax.data.task_builders import OBJECTIVES, add_task
from m5jax.data.vocabulary import EOS_ID, current_vocabulary
from m5jax.errors import UserError
from tests.data.conftest import COUNTS, TinyCorpus

LENGTH = 64
BATCH = 8


def _training(**changes: Any) -> BatchIterator:
    arguments = {"length": LENGTH, "batch_size": BATCH, "seed": 5, **changes}
    return training_batches(arguments.pop("name", "tiny_mlm"), **arguments)


def _take(batches: BatchIterator, count: int) -> list[Batch]:
    return [next(batches) for _ in range(count)]


def _equal(first: list[Batch], second: list[Batch]) -> bool:
    return len(first) == len(second) and all(
        one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
        for one, other in zip(first, second, strict=True)
    )


def _texts(batches: list[Batch]) -> list[str]:
    """The texts of the segments, unmasked; a text that was split is given in its parts."""
    texts = []
    for batch in batches:
        inputs = batch["inputs"].copy()
        rows, slots = np.nonzero(batch["loss_weights"])
        inputs[rows, batch["predicted_positions"][rows, slots]] = batch["targets"][rows, slots]
        for row, segments in zip(inputs, batch["segment_ids"], strict=True):
            for segment in range(1, segments.max() + 1):
                texts.append(current_vocabulary().decode(row[(segments == segment) & (row != EOS_ID)].tolist()))
    return texts


def test_batches_have_the_stated_features(tiny: TinyCorpus) -> None:
    batch = next(_training())
    budget = prediction_budget(LENGTH, 0.15)
    shapes = {name: (value.shape, value.dtype.name) for name, value in batch.items()}
    assert shapes == {
        "inputs": ((BATCH, LENGTH), "int32"),
        "segment_ids": ((BATCH, LENGTH), "int32"),
        "positions": ((BATCH, LENGTH), "int32"),
        "predicted_positions": ((BATCH, budget), "int32"),
        "targets": ((BATCH, budget), "int32"),
        "task_ids": ((BATCH, budget), "int32"),
        "loss_weights": ((BATCH, budget), "float32"),
    }


# 60 batches go past the end of each language's first epoch.
@pytest.mark.parametrize("taken", [3, 60])
def test_a_restored_position_continues_to_the_bit(tiny: TinyCorpus, tmp_path: Path, taken: int) -> None:
    batches = _training()
    _take(batches, taken)
    batches.save(tmp_path / "position")
    expected = _take(batches, 40)
    restored = _training()
    _take(restored, 1)
    restored.restore(tmp_path / "position")
    assert _equal(_take(restored, 40), expected)


@pytest.fixture(scope="module")
def mixed_mixture(tiny_corpus: TinyCorpus) -> str:
    add_mixture("tiny_mixed", ["tiny_en_mlm", "tiny_de_span_corruption", "tiny_en_ul2"])
    return "tiny_mixed"


def test_tasks_of_both_kinds_share_rows(tiny: TinyCorpus, tmp_path: Path, mixed_mixture: str) -> None:
    batches = _training(name=mixed_mixture, targets_length=24)
    taken = _take(batches, 20)
    assert taken[0]["bidirectional"].shape == (BATCH, LENGTH)
    assert taken[0]["targets"].shape == (BATCH, 24)
    seen = np.concatenate([batch["task_ids"][batch["loss_weights"] > 0] for batch in taken])
    assert set(seen.tolist()) == {0, 1, 2}
    # Predictions of the masked-LM task, and of no other, are made where all of the segment may look.
    for batch in taken:
        free = np.take_along_axis(batch["bidirectional"], batch["predicted_positions"], axis=1)
        inputs = np.take_along_axis(batch["inputs"], batch["predicted_positions"], axis=1)
        used = batch["loss_weights"] > 0
        names = np.array([task.name for task in find_tasks(mixed_mixture)])[batch["task_ids"]]
        masked = used & (names == "tiny_en_mlm")
        assert (free[masked] == 1).all()
        # A target is predicted from the last input, which is the end token, or from the target before it.
        written = used & (names != "tiny_en_mlm")
        assert (inputs[written & (free == 1)] == EOS_ID).all()
    batches.save(tmp_path)
    expected = _take(batches, 5)
    restored = _training(name=mixed_mixture, targets_length=24)
    restored.restore(tmp_path)
    assert _equal(_take(restored, 5), expected)


REPLAY = {"name": "tiny_de_word_mlm", "replay_mixture": "tiny_mlm", "replay": 0.25}


def _rows(batches: list[Batch]) -> list[Batch]:
    return [{name: value[row] for name, value in batch.items()} for batch in batches for row in range(BATCH)]


def _without_tasks(rows: list[Batch]) -> list[Batch]:
    return [{name: value for name, value in row.items() if name != "task_ids"} for row in rows]


def test_a_share_of_rows_is_of_the_replayed_mixture(tiny: TinyCorpus) -> None:
    rows = _rows(_take(_training(**REPLAY), 100))
    names = np.array([task.name for task in find_tasks("tiny_de_word_mlm", "tiny_mlm")])
    assert names.tolist() == ["tiny_de_word_mlm", "tiny_de_mlm", "tiny_en_mlm"]
    tasks = [set(names[row["task_ids"][row["loss_weights"] > 0]].tolist()) for row in rows]
    replayed = np.array([own <= {"tiny_de_mlm", "tiny_en_mlm"} for own in tasks])
    assert all(own == {"tiny_de_word_mlm"} for own, of_first in zip(tasks, ~replayed, strict=True) if of_first)
    assert stats.binomtest(int(replayed.sum()), len(rows), 0.25).pvalue > 0.01
    # Each mixture's rows are those that it has alone, in the same order.
    alone = _rows(_take(_training(name="tiny_de_word_mlm"), 100))[: int((~replayed).sum())]
    assert _equal([row for row, is_replay in zip(rows, replayed, strict=True) if not is_replay], alone)
    assert set.union(*tasks) == set(names.tolist())


def test_a_task_of_both_mixtures_is_read_in_two_orders(tiny: TinyCorpus) -> None:
    batches = _take(_training(name="tiny_en_mlm", replay_mixture="tiny_en_mlm", replay=0.5), 4)
    alone = _without_tasks(_rows(_take(_training(name="tiny_en_mlm"), 4)))
    known = [any(_equal([row], [other]) for other in alone) for row in _without_tasks(_rows(batches))]
    assert 0 < sum(known) < len(known)


def test_a_restored_position_continues_with_the_replayed_rows_too(tiny: TinyCorpus, tmp_path: Path) -> None:
    batches = _training(**REPLAY)
    _take(batches, 12)
    batches.save(tmp_path)
    expected = _take(batches, 20)
    restored = _training(**REPLAY)
    restored.restore(tmp_path)
    assert _equal(_take(restored, 20), expected)
    for changes, difference in (
        ({"replay": 0.5}, "replay was .*0.25"),
        ({"replay_mixture": "", "replay": 0.0}, "tasks was"),
    ):
        with pytest.raises(UserError, match=difference):
            _training(**REPLAY | changes).restore(tmp_path)


def test_a_definition_says_what_is_replayed(tiny: TinyCorpus) -> None:
    plain = definition("tiny_en_mlm", length=64, seed=1)
    replayed = definition("tiny_en_mlm", length=64, seed=1, replay_mixture="tiny_mlm", replay=0.1)
    assert replayed["replay"] == {"share": 0.1, "tasks": ["tiny_de_mlm", "tiny_en_mlm"]}
    assert sorted(replayed["tasks"]) == ["tiny_de_mlm", "tiny_en_mlm"]
    assert replayed.keys() - plain.keys() == {"replay"}
    assert json.loads(json.dumps(replayed)) == replayed


@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
def test_each_objective_trains_and_evaluates_with_fixed_examples(tiny: TinyCorpus, objective: str) -> None:
    lengths = {"length": LENGTH, "targets_length": 32}
    batch = next(_training(name=f"tiny_{objective}", **lengths))
    assert batch["loss_weights"].sum() > 0

    def held_out() -> list[Batch]:
        return list(evaluation_batches(f"tiny_en_{objective}", batch_size=BATCH, **lengths))

    assert _equal(held_out(), held_out())


def test_batches_follow_the_seed(tiny: TinyCorpus) -> None:
    first = _take(_training(), 5)
    assert _equal(first, _take(_training(), 5))
    assert not _equal(first, _take(_training(seed=6), 5))


@pytest.mark.parametrize(
    "changes", [{"seed": 6}, {"length": 32}, {"mixing": Proportional(0.3)}, {"masking": MaskingPolicy(mask_share=0.9)}]
)
def test_the_position_of_another_pipeline_is_refused(tiny: TinyCorpus, tmp_path: Path, changes: dict[str, Any]) -> None:
    _training().save(tmp_path)
    with pytest.raises(UserError, match="is of another pipeline: "):
        _training(**changes).restore(tmp_path)


def test_damaged_and_missing_positions_are_refused(tiny: TinyCorpus, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no data position can be read"):
        _training().restore(tmp_path / "absent")
    _training().save(tmp_path)
    (tmp_path / "position.index").unlink()
    with pytest.raises(UserError, match="is damaged"):
        _training().restore(tmp_path)


def test_the_masking_rate_can_be_set_for_a_run(tiny: TinyCorpus) -> None:
    batches = _take(_training(masking=MaskingPolicy(rate=0.4)), 30)
    assert batches[0]["targets"].shape == (BATCH, prediction_budget(LENGTH, 0.4))
    texts = sum((batch["segment_ids"] > 0).sum() for batch in batches) - sum(
        (batch["inputs"] == EOS_ID).sum() for batch in batches
    )
    assert sum(batch["loss_weights"].sum() for batch in batches) / texts == pytest.approx(0.4, abs=0.005)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_tasks_are_sampled_at_the_rates_of_alpha(tiny: TinyCorpus, alpha: float) -> None:
    """On 100,000 draws, made as `training_batches` makes them."""
    rates = mixture_rates("tiny_mlm", Proportional(alpha))
    weights = {f"tiny_{language}_mlm": COUNTS[language]["train"] ** alpha for language in COUNTS}
    expected = {name: weight / sum(weights.values()) for name, weight in weights.items()}
    assert rates == pytest.approx(expected)
    numbers = [tf.data.Dataset.from_tensors(index).repeat() for index in range(len(rates))]
    draws = next(mix_examples(numbers, list(rates.values()), seed=0).batch(100_000).as_numpy_iterator())
    expected_counts = 100_000 * np.array([expected[name] for name in rates])
    assert stats.chisquare(np.bincount(draws), expected_counts).pvalue > 1e-3


def test_the_mixture_in_the_batches_follows_alpha(tiny: TinyCorpus) -> None:
    def german_share(alpha: float | None) -> float:
        texts = _texts(_take(_training(mixing=None if alpha is None else Proportional(alpha)), 200))
        german = sum("schu" in text or "lich" in text or "ung" in text for text in texts)
        return german / sum("ster" in text or "ing" in text or "lo" in text for text in texts)

    # Texts are cut into parts alike in both languages; words give the language of nearly every part.
    assert german_share(1.0) == pytest.approx(0.25, rel=0.2)
    assert german_share(0.0) == pytest.approx(1.0, rel=0.2)
    # The default rule: square roots.
    assert german_share(None) == pytest.approx(0.5, rel=0.2)


def test_shards_are_disjoint_and_cover_the_records(tiny: TinyCorpus) -> None:
    def first_words(**changes: Any) -> set[str]:
        batches = _take(_training(name="tiny_en_mlm", **changes), 120)
        return {" ".join(text.split()[:2]) for text in _texts(batches) if text.startswith("train ")}

    shards = [first_words(shard_index=index, shard_count=3) for index in range(3)]
    everything = {f"train {index}" for index in range(COUNTS["en"]["train"])}
    assert set.union(*shards) == everything
    assert sum(map(len, shards)) == len(everything)
    assert first_words() == everything


@pytest.mark.parametrize("pack", [True, False])
def test_evaluation_sees_every_example_once_and_fills_the_last_batch(tiny: TinyCorpus, pack: bool) -> None:
    batches = list(evaluation_batches("tiny_de_mlm", length=256, batch_size=BATCH, pack=pack))
    assert all(batch["inputs"].shape == (BATCH, 256) for batch in batches)
    assert collections.Counter(_texts(batches)) == collections.Counter(tiny.texts["de"]["validation"])
    empty = (batches[-1]["segment_ids"] == 0).all(axis=1)
    if not pack:
        assert len(batches) == 4
        assert empty.tolist() == [False] * 6 + [True] * 2
    assert not batches[-1]["loss_weights"][empty].any()


def test_evaluation_masks_are_fixed(tiny: TinyCorpus) -> None:
    first = list(evaluation_batches("tiny_en_mlm", length=LENGTH, batch_size=BATCH))
    assert _equal(first, list(evaluation_batches("tiny_en_mlm", length=LENGTH, batch_size=BATCH)))
    assert sum(batch["loss_weights"].sum() for batch in first) > 100


def test_evaluation_stops_at_the_maximum(tiny: TinyCorpus) -> None:
    batches = list(evaluation_batches("tiny_en_mlm", length=256, batch_size=BATCH, max_examples=11))
    assert len(_texts(batches)) == 11


def test_evaluation_tasks_are_named_by_language(tiny: TinyCorpus) -> None:
    assert evaluation_tasks("tiny_mlm") == {"en": "tiny_en_mlm", "de": "tiny_de_mlm"}
    assert evaluation_tasks("tiny_en_mlm") == {"en": "tiny_en_mlm"}
    assert evaluation_tasks("tiny_en_mlm", "tiny_mlm") == {"en": "tiny_en_mlm", "de": "tiny_de_mlm"}
    both = ["tiny_de_ul2", "tiny_de_mlm"]
    assert evaluation_tasks(*both, "tiny_en_mlm") == {**dict(zip(both, both, strict=True)), "en": "tiny_en_mlm"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "tiny_mlmm"}, "unknown task 'tiny_mlmm'; did you mean tiny_mlm"),
        ({"length": 4}, "the row length is 4"),
        ({"batch_size": 0}, "the batch size of a host is 0"),
        ({"shard_index": 2, "shard_count": 2}, "data shard 2 of 2"),
        ({"shard_count": 100}, "tiny_de_mlm has 60 train records, too few for 100 hosts"),
        ({"name": "tiny_ul2"}, "has targets to write: the targets' length is 0, allowed: 4 to 60"),
        ({"name": "tiny_ul2", "targets_length": 62}, "the targets' length is 62"),
        ({"split": "test"}, "no test records in"),
        ({"split": "dev"}, "no split 'dev'; splits there: test, train, validation"),
        ({"name": "tiny_french_mlm"}, "no data in language 'fr'"),
    ],
)
def test_impossible_requests_are_refused(tiny: TinyCorpus, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        _training(**changes)


def test_a_mixture_and_a_task_of_another_kind_cannot_be_evaluated(tiny: TinyCorpus) -> None:
    with pytest.raises(UserError, match="tiny_mlm is a mixture; evaluate its tasks: tiny_de_mlm, tiny_en_mlm"):
        evaluation_batches("tiny_mlm", length=LENGTH, batch_size=BATCH)
    source = seqio.FunctionDataSource(lambda split, shuffle_files, seed=None: None, splits=["validation"])
    seqio.TaskRegistry.add("of_another_kind", source=source, preprocessors=[], output_features={})
    with pytest.raises(UserError, match="of_another_kind has targets to write: the targets' length is 0"):
        evaluation_batches("of_another_kind", length=LENGTH, batch_size=BATCH)


def test_a_definition_names_every_step_with_its_settings(tiny: TinyCorpus) -> None:
    add_task("tiny_plain", lambda: pytest.fail("is read"), "en", OBJECTIVES["word_mlm"], AttributeFormat("plain"))
    arguments = {"length": 64, "seed": 1}
    (steps,) = definition("tiny_plain", **arguments)["tasks"].values()
    assert "serialize_records(attributes=AttributeFormat(style='plain'" in steps[0]
    assert steps[1:4] == ["tokenize(copy_pretokenized=False)", "append_eos", "split_long_examples"]
    assert "unit='word'" in steps[4]
    assert json.loads(json.dumps(definition("tiny_plain", **arguments))) == definition("tiny_plain", **arguments)
    assert definition("tiny_plain", **arguments, masking=MaskingPolicy(0.3)) != definition("tiny_plain", **arguments)


def _lengthen(dataset: tf.data.Dataset) -> tf.data.Dataset:
    return dataset.map(lambda example: {name: tf.tile(example[name], [50]) for name in ("inputs", "targets")})


def _shorten(dataset: tf.data.Dataset) -> tf.data.Dataset:
    return dataset.map(lambda example: {"inputs": example["inputs"], "targets": example["targets"][1:]})


def _make_floats(dataset: tf.data.Dataset) -> tf.data.Dataset:
    return dataset.map(lambda example: {name: tf.cast(example[name], tf.float32) for name in ("inputs", "targets")})


def _misspell(dataset: tf.data.Dataset) -> tf.data.Dataset:
    return dataset.map(lambda example: {"inputs": example["inputz"]})


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (_lengthen, r"cannot read the next batch: an example of task bad_\w+ has inputs of \d+ tokens, more than"),
        (_shorten, r"task bad_\w+ has inputs of (\d+) tokens and targets of \d+; aligned targets are as many"),
        (_make_floats, r"task bad_\w+: .*incorrect type for feature 'inputs'.* Got float32, expected int32"),
        (_misspell, r"task bad_\w+: KeyError: 'inputz'"),
    ],
)
def test_a_preprocessor_that_makes_something_else_is_named(tiny: TinyCorpus, step: Any, message: str) -> None:
    source = seqio.TaskRegistry.get("tiny_en_mlm").source.corpus
    name = f"bad_{step.__name__}"
    add_task(name, source, "en", (*OBJECTIVES["mlm"], step))
    for read in (
        lambda: next(training_batches(name, length=64, batch_size=2, seed=0)),
        lambda: list(evaluation_batches(name, length=64, batch_size=2)),
    ):
        with pytest.raises(UserError, match=message) as error:
            read()
        assert "\n" not in str(error.value)


def test_epochs_show_each_record_as_often(tiny: TinyCorpus) -> None:
    for name, texts in (("tiny_de_mlm", tiny.texts["de"]["train"]), ("tiny_mlm", [])):
        batches = training_batches(name, length=64, batch_size=7, seed=0, epochs=2)
        records = texts or [text for texts in tiny.texts.values() for text in texts["train"]]
        seen: collections.Counter[str] = collections.Counter()
        ended = 0
        for batch in batches:
            used = batch["loss_weights"] > 0
            originals = batch["inputs"].copy()
            rows, slots = np.nonzero(used)
            originals[rows, batch["predicted_positions"][rows, slots]] = batch["targets"][rows, slots]
            ended += int((originals == EOS_ID).sum())
            for row, segments in zip(originals, batch["segment_ids"], strict=True):
                for segment in range(1, segments.max() + 1):
                    seen[current_vocabulary().decode(row[segments == segment])] += 1
        assert ended == 2 * len(records)
        short = [text for text in records if len(current_vocabulary().encode([text])[0]) < 64]
        assert short
        assert all(seen[text] == 2 for text in short)
