"""Curated tasks: how often each record comes, that positions and rows hold, and what is refused."""

import collections
from pathlib import Path

import numpy as np
import pytest
import seqio

from m5jax.data.curation import add_curated_task
from m5jax.data.evaluation_batches import evaluation_batches
from m5jax.data.hard_examples import HardExamples
from m5jax.data.inspect_task import show_task
from m5jax.data.materialized import MaterializedBatches, read_rows, write_rows
from m5jax.data.mixing import Proportional
from m5jax.data.mixtures import add_mixture, mixture_rates
from m5jax.data.pipeline import definition, training_batches
from m5jax.data.scores import ScoreWriter, record_keys
from m5jax.errors import UserError
from tests.data.conftest import COUNTS, TinyCorpus

RULE = HardExamples(drop_easiest=0.25, max_weight=2.5, drop_hardest=0.1)
ENGLISH, GERMAN = (COUNTS[language]["train"] for language in ("en", "de"))
PASSES = 60


def lines(task: str, split: str = "train") -> list[bytes]:
    shards = seqio.TaskRegistry.get(task).source.list_shards(split)
    return [line for shard in shards for line in Path(shard).read_bytes().splitlines()]


def write_scores(path: Path, scored: list[bytes], seed: int = 0) -> np.ndarray:
    losses = np.random.default_rng(seed).gamma(3.0, 1.0, len(scored)).astype(np.float32)
    with ScoreWriter(path, {"task": "tiny_en_mlm"}) as writer:
        writer.write(record_keys(scored), np.full(len(scored), 5, np.int32), losses)
    return losses


@pytest.fixture(scope="module")
def weights(tiny_corpus: TinyCorpus, tmp_path_factory: pytest.TempPathFactory) -> dict[bytes, float]:
    """Registers the curated tasks; returns the weight of each English line."""
    path = tmp_path_factory.mktemp("scores") / "scores.parquet"
    own = lines("tiny_en_mlm")
    losses = write_scores(path, own)
    for objective in ("mlm", "ul2"):
        add_curated_task(f"tiny_hard_{objective}", f"tiny_en_{objective}", lambda: path, RULE)
    add_curated_task("tiny_harder", "tiny_en_mlm", str(path), HardExamples(exponent=2.0))
    add_mixture("tiny_curated_mixture", ["tiny_hard_mlm", "tiny_de_mlm"])
    return dict(zip(own, RULE.weights(losses).tolist(), strict=True))


def test_each_record_comes_as_often_as_it_weighs(tiny: TinyCorpus, weights: dict[bytes, float]) -> None:
    task = seqio.TaskRegistry.get("tiny_hard_mlm")
    with seqio.utils.map_seed_manager(3):
        drawn = task.preprocessors[0](task.source.get_dataset("train", shuffle=False).repeat(PASSES))
    counts = collections.Counter(line.numpy() for line in drawn)
    assert counts.keys() == {line for line, weight in weights.items() if weight > 0}
    fractional = 0
    for line, weight in weights.items():
        assert PASSES * np.floor(weight) <= counts[line] <= PASSES * np.ceil(weight)
        share = weight % 1
        assert abs(counts[line] - PASSES * weight) <= 4.5 * np.sqrt(PASSES * share * (1 - share)) + 1e-6
        # Drawn afresh each pass: not the same in all of them.
        fractional += PASSES * np.floor(weight) < counts[line] < PASSES * np.ceil(weight)
    assert fractional > 0.8 * len(counts)


def test_held_out_records_stay_as_they_are(tiny: TinyCorpus, weights: dict[bytes, float]) -> None:
    task = seqio.TaskRegistry.get("tiny_hard_mlm")
    records = list(task.source.get_dataset("validation", shuffle=False))
    assert sorted(record["line"].numpy() for record in records) == sorted(lines("tiny_en_mlm", "validation"))
    assert {float(record["weight"]) for record in records} == {1.0}
    tokens = [
        sum(int((batch["segment_ids"] > 0).sum()) for batch in evaluation_batches(name, length=64, batch_size=4))
        for name in ("tiny_hard_mlm", "tiny_en_mlm")
    ]
    assert tokens[0] == tokens[1]


def test_mixing_rates_see_the_expected_number(tiny: TinyCorpus, weights: dict[bytes, float]) -> None:
    kept = sum(weight > 0 for weight in weights.values())
    assert 0.6 * ENGLISH < kept < 0.7 * ENGLISH
    task = seqio.TaskRegistry.get("tiny_hard_mlm")
    assert task.num_input_examples("train") == kept
    assert task.num_input_examples("validation") == COUNTS["en"]["validation"]
    rates = mixture_rates("tiny_curated_mixture", Proportional(alpha=1.0))
    assert rates["tiny_hard_mlm"] == pytest.approx(kept / (kept + GERMAN))
    size = sum(weight * (len(line) + 1) for line, weight in weights.items())
    german = sum(len(line) + 1 for line in lines("tiny_de_mlm"))
    rates = mixture_rates("tiny_curated_mixture", Proportional(alpha=1.0, unit="bytes"))
    assert rates["tiny_hard_mlm"] == pytest.approx(size / (size + german), rel=1e-3)


@pytest.mark.parametrize(("task", "targets_length"), [("tiny_curated_mixture", 0), ("tiny_hard_ul2", 32)])
def test_a_restored_position_goes_on_with_the_next_batch(
    tiny: TinyCorpus, weights: dict[bytes, float], tmp_path: Path, task: str, targets_length: int
) -> None:
    def batches(seed: int = 5):  # type: ignore[no-untyped-def]
        return training_batches(task, length=64, targets_length=targets_length, batch_size=8, seed=seed)

    interrupted = batches()
    for _ in range(15):  # beyond the first pass
        next(interrupted)
    interrupted.save(tmp_path / "position")
    expected = [next(interrupted) for _ in range(12)]
    restored = batches()
    restored.restore(tmp_path / "position")
    for batch in expected:
        found = next(restored)
        for name in batch:
            np.testing.assert_array_equal(found[name], batch[name])
    assert not np.array_equal(next(batches())["inputs"], next(batches(6))["inputs"])


def test_rows_of_curated_tasks_can_be_written_down(
    tiny: TinyCorpus, weights: dict[bytes, float], tmp_path: Path
) -> None:
    def live():  # type: ignore[no-untyped-def]
        return training_batches("tiny_hard_ul2", length=64, targets_length=32, batch_size=8, seed=0)

    write_rows(live(), 80, tmp_path / "rows", {})
    written = MaterializedBatches(read_rows(tmp_path / "rows"), 8)
    for _, batch in zip(range(10), live(), strict=False):
        np.testing.assert_array_equal(next(written)["inputs"], batch["inputs"])


def test_definitions_tell_rules_and_scores_apart(tiny: TinyCorpus, weights: dict[bytes, float], tmp_path: Path) -> None:
    write_scores(tmp_path / "other.parquet", list(weights), seed=1)
    add_curated_task("tiny_hard_by_others", "tiny_en_mlm", tmp_path / "other.parquet", RULE)
    steps = [
        tuple(definition(name, length=64, seed=0)["tasks"][name])
        for name in ("tiny_en_mlm", "tiny_hard_mlm", "tiny_harder", "tiny_hard_by_others")
    ]
    assert len(set(steps)) == 4
    assert str(RULE) in steps[1][0]
    assert [own[1:] for own in steps[1:]] == [steps[0]] * 3


def test_tasks_show_says_what_is_left_out(tiny: TinyCorpus, weights: dict[bytes, float]) -> None:
    shown = show_task("tiny_hard_mlm", vocabulary=tiny.vocabulary)
    kept = sum(weight > 0 for weight in weights.values())
    assert f"{kept} of {ENGLISH} records are kept, {kept} expected in a pass" in " ".join(shown.split())
    assert "drop_easiest=0.25" in shown
    assert "weight: " in shown


def test_scores_of_other_records_are_refused_with_counts(
    tiny: TinyCorpus, weights: dict[bytes, float], tmp_path: Path
) -> None:
    german = lines("tiny_de_mlm")
    write_scores(tmp_path / "scores.parquet", [*list(weights)[:200], *german])
    add_curated_task("tiny_badly_scored", "tiny_en_mlm", tmp_path / "scores.parquet", RULE)
    message = (
        f"{ENGLISH - 200} of {ENGLISH} train records of task tiny_en_mlm have no score in .*scores.parquet "
        rf"\({200 + GERMAN} scores of task tiny_en_mlm\); m5jax data score --task=tiny_en_mlm makes them"
    )
    with pytest.raises(UserError, match=message):
        training_batches("tiny_badly_scored", length=64, batch_size=8, seed=0)
    # More scores than records are no harm.
    add_curated_task("tiny_well_scored", "tiny_de_mlm", tmp_path / "scores.parquet", HardExamples(0.0, exponent=0.0))
    assert seqio.TaskRegistry.get("tiny_well_scored").num_input_examples("train") == GERMAN


def test_what_cannot_be_curated_is_refused(tiny: TinyCorpus, weights: dict[bytes, float], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is registered already"):
        add_curated_task("tiny_hard_mlm", "tiny_en_mlm", "scores.parquet")
    with pytest.raises(UserError, match="tiny_mlm is a mixture; curate its tasks"):
        add_curated_task("tiny_hard_mixture", "tiny_mlm", "scores.parquet")
    with pytest.raises(UserError, match="tiny_hard_mlm cannot be curated"):
        add_curated_task("tiny_hard_twice", "tiny_hard_mlm", "scores.parquet")
    with pytest.raises(UserError, match="did you mean tiny_en_mlm"):
        add_curated_task("tiny_hard_unknown", "tiny_en_mln", "scores.parquet")
    add_curated_task("tiny_not_scored", "tiny_en_mlm", tmp_path / "absent.parquet")
    with pytest.raises(UserError, match=r"cannot read the scores .*absent.parquet"):
        training_batches("tiny_not_scored", length=64, batch_size=8, seed=0)
