"""Fine-tunings from files to checkpoints, reports and embeddings, on a run that was never trained."""

import dataclasses
import itertools
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest

from m5jax.cli.main import main
from m5jax.configuration.fine_tuned_result import read_result
from m5jax.configuration.fine_tuned_run import load_fine_tuned
from m5jax.data.rejected import MINIMUM_RECORDS
from m5jax.evaluation.predictions import read_predictions
from m5jax.evaluation.report_data import read_report_data
from m5jax.evaluation.tables import read_summary
from m5jax.finetuning.batches import ShuffledBatches
from m5jax.models import FunctionalModel, Parameters
from m5jax.models.low_rank import merge_adapters
from m5jax.training.checkpoints import FOLDER, Checkpoints
from m5jax.training.run_log import read_metrics
from tests.configuration.pretrained_run import THINGS, encoder, encoder_decoder, pairs, write_rows, write_run

Row = dict[str, Any]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "pretrained", encoder())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("rows")
    sizes = {"train": 48, "valid": 24, "test": 24}
    rows = {name: pairs(size, seed) for seed, (name, size) in enumerate(sizes.items())}
    return {name: write_rows(folder / f"{name}.jsonl", own) for name, own in rows.items()}


def finetune(run_dir: Path, files: dict[str, str], recipe: str, *more: str, steps: int = 4) -> int:
    settings = {"steps": steps, "batch_size": 8, "length": 32, "evaluate_every": 2, "log_every": 1}
    flags = [f"--gin.FineTuning.{name}={value}" for name, value in settings.items()]
    data = [f"--train={files['train']}", f"--valid={files['valid']}"]
    return main(["finetune", f"--recipe={recipe}", f"--run_dir={run_dir}", *data, *flags, *more])


def parameters(run_dir: Path, step: int | None = None) -> Parameters:
    return jax.tree.map(np.asarray, load_fine_tuned(run_dir, step).parameters)


def pretrained_parameters(run_dir: Path) -> Parameters:
    model = FunctionalModel.from_config(encoder())
    with Checkpoints(run_dir / FOLDER) as checkpoints:
        return jax.tree.map(np.asarray, checkpoints.restore_parameters(model.abstract_parameters)[1])


def assert_same(one: Any, other: Any) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a.view(np.uint32), b.view(np.uint32)), one, other)


def test_two_towers_are_trained_evaluated_and_searched_without_the_run_that_they_began_with(
    pretrained: Path, files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone, run_dir = tmp_path / "gone", tmp_path / "tuned"
    shutil.copytree(pretrained, gone)
    assert finetune(run_dir, files, "two_tower", f"--from={gone}", "--gin.TwoTowerTask.lexical=8") == 0
    shutil.rmtree(gone)
    printed = capsys.readouterr().out
    result = read_result(run_dir)
    assert result is not None
    assert f"best step   {result.step} of 4" in printed
    measured = {
        row["step"]: row["evaluation/valid/f1"] for row in read_metrics(run_dir) if "evaluation/valid/f1" in row
    }
    assert measured[result.step] == max(value for step, value in measured.items() if step)
    assert main(["evaluate", f"--run={run_dir}", f"--data={files['test']}", "--samples=50"]) == 0
    folder = run_dir / "evaluations" / "test"
    assert {path.name for path in folder.iterdir()} == {
        "report.json",
        "report.md",
        "report.html",
        "predictions.parquet",
    }
    assert read_report_data(folder).groups[0].metrics["f1"].count == 24
    predictions = read_predictions(folder).table
    assert predictions["predicted"].to_pylist() == [
        score >= result.threshold for score in predictions["score"].to_pylist()
    ]
    products = [{"id": thing, "language": "en", "title": f"acme {thing} 1"} for thing in THINGS]
    embeddings = tmp_path / "embeddings.parquet"
    source = write_rows(tmp_path / "products.jsonl", products)
    assert main(["embed", f"--run={run_dir}", f"--input={source}", f"--output={embeddings}", "--batch_size=8"]) == 0
    vectors = np.stack(pq.read_table(embeddings)["embedding"].to_numpy())
    assert vectors.shape[1] == encoder().width + 8
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)  # unit vectors, of the cosine
    capsys.readouterr()
    assert main(["search", f"--run={run_dir}", f"--embeddings={embeddings}", "--query=acme lamp 1", "--top=1"]) == 0
    assert re.search(r"1\.000\s+en\s+lamp", capsys.readouterr().out)


def test_a_killed_fine_tuning_that_mines_ends_as_one_that_ran_through(
    pretrained: Path, files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mined = ["--gin.FineTuning.negatives=@HardNegativeSettings()", "--gin.FineTuning.refresh_every=3"]
    mined += ["--gin.HardNegativeSettings.negatives_per_query=2", "--gin.HardNegativeSettings.lexical_share=0.5"]
    mined += ["--gin.HardNegativeSettings.dense_share=0.5", f"--from={pretrained}"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert finetune(whole, files, "two_tower", *mined, steps=6) == 0
    drawn, numbers = ShuffledBatches.__next__, itertools.count(1)

    def killed_at_the_sixth(self: ShuffledBatches) -> dict[str, np.ndarray]:
        if next(numbers) == 6:
            raise KeyboardInterrupt
        return drawn(self)

    with monkeypatch.context() as patch:
        patch.setattr(ShuffledBatches, "__next__", killed_at_the_sixth)
        assert finetune(killed, files, "two_tower", *mined, steps=6) == 130
    assert finetune(killed, files, "two_tower", *mined, steps=6) == 0
    assert read_result(killed) == read_result(whole)
    assert_same(parameters(killed, 6), parameters(whole, 6))
    shares = [row for row in read_metrics(killed) if "negatives/lexical" in row]
    assert [row["step"] for row in shares] == [0, 3]
    assert all(sum(row[f"negatives/{name}"] for name in ("dense", "lexical", "random")) == 1 for row in shares)


def test_adapters_leave_the_pretrained_weights_as_they_are(
    pretrained: Path, files: dict[str, str], tmp_path: Path
) -> None:
    adapters = ["--gin.FineTunedPart.adapters=@LowRankAdapters()", "--gin.LowRankAdapters.rank=2"]
    assert finetune(tmp_path / "tuned", files, "joint", *adapters, f"--from={pretrained}") == 0
    trained = parameters(tmp_path / "tuned")["encoder"]
    ups = trained["layers"]["attention"].pop("adapters")
    assert ups.keys() == {"query", "value"}
    assert all(np.abs(factors["up"]).max() > 0 for factors in ups.values())
    assert_same(trained, pretrained_parameters(pretrained))
    # A second fine-tuning begins with what the first one learned.
    assert (
        finetune(tmp_path / "second", files, "joint", f"--from={tmp_path / 'tuned'}", "--gin.FineTunedPart.layers=0")
        == 0
    )
    query = parameters(tmp_path / "second")["encoder"]["layers"]["attention"]["query"]
    moved = np.einsum("lir,lrhd->lihd", ups["query"]["down"], ups["query"]["up"]) * 16 / 2
    np.testing.assert_allclose(query, trained["layers"]["attention"]["query"] + moved, atol=1e-6)


def test_a_run_is_resumed_on_its_own_rows_only(
    pretrained: Path, files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = {name: str(shutil.copy(path, tmp_path / f"{name}.jsonl")) for name, path in files.items()}
    begun, run_dir = [f"--from={pretrained}"], tmp_path / "tuned"
    assert finetune(run_dir, own, "joint", *begun, steps=2) == 0
    before = {path: path.read_bytes() for path in (run_dir / "fine_tuned").iterdir()}
    for name in ("train", "valid"):
        lines = Path(own[name]).read_text(encoding="utf-8").splitlines()
        Path(own[name]).write_text("\n".join(lines[:-2]) + "\n", encoding="utf-8")
        assert finetune(run_dir, own, "joint", *begun, steps=2) == 2
        assert "is of other rows than those of --train and --valid now" in capsys.readouterr().err
        assert {path: path.read_bytes() for path in (run_dir / "fine_tuned").iterdir()} == before
        Path(own[name]).write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert finetune(run_dir, own, "joint", *begun, steps=2) == 0


def test_what_is_wrong_with_labels_leaves_no_run_behind(
    pretrained: Path, files: dict[str, str], tmp_path: Path
) -> None:
    rows = {"train": [{"text": f"{word} lamp", "label": word} for word in ("red", "blue")] * 8}
    rows["valid"] = [*rows["train"][:4], {"text": "green lamp", "label": "green"}]
    own = {name: write_rows(tmp_path / f"{name}.jsonl", some) for name, some in rows.items()}
    flags = [f"--from={pretrained}", "--overlap=allow"]
    assert finetune(tmp_path / "tuned", own, "classification", *flags) == 2
    declared = ["--gin.ClassificationTask.labels=('red','blue','green')"]
    assert finetune(tmp_path / "tuned", own, "classification", *flags, *declared, steps=2) == 0


def test_an_encoder_decoder_is_fine_tuned_again_from_its_best_checkpoint(files: dict[str, str], tmp_path: Path) -> None:
    rewrite, flags, _ = RECIPES["text_to_text"]
    own = {}
    for name, path in files.items():
        rows = [rewrite(json.loads(line)) for line in Path(path).read_text(encoding="utf-8").splitlines()]
        own[name] = write_rows(tmp_path / f"{name}.jsonl", rows)
    begun = write_run(tmp_path / "encoder_decoder", encoder_decoder())
    adapters = ["--gin.FineTunedPart.adapters=@LowRankAdapters()", "--gin.LowRankAdapters.rank=2", "--overlap=allow"]
    first, second = tmp_path / "first", tmp_path / "second"
    assert finetune(first, own, "text_to_text", f"--from={begun}", *flags, *adapters, steps=2) == 0
    still = ["--gin.Cosine.peak=1e-9", "--overlap=allow"]
    assert finetune(second, own, "text_to_text", f"--from={first}", *flags, *still, steps=2) == 0
    adapters_of_first = load_fine_tuned(first).config.part.adapters
    assert adapters_of_first is not None
    merged = merge_adapters(load_fine_tuned(first).parameters, adapters_of_first)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), jax.tree.map(np.asarray, merged), parameters(second)
    )


def test_a_run_of_the_same_task_and_labels_gives_its_heads_and_towers(
    pretrained: Path, files: dict[str, str], tmp_path: Path
) -> None:
    for recipe, flags in (("joint", []), ("two_tower", ["--gin.TwoTowerTask.shared=False"])):
        first, second, other = (tmp_path / f"{recipe}_{name}" for name in ("first", "second", "other"))
        assert finetune(first, files, recipe, f"--from={pretrained}", *flags) == 0
        assert finetune(second, files, recipe, f"--from={first}", *flags, steps=2) == 0
        result = read_result(first)
        assert result is not None
        begun = read_metrics(second)[0]
        for name, value in result.metrics.items():
            np.testing.assert_allclose(begun[f"evaluation/valid/{name}"], value, atol=1e-5, err_msg=f"{recipe} {name}")
    # Of another task only the encoder.
    assert finetune(other, files, "joint", f"--from={first}", steps=2) == 0
    left, right = (parameters(first)[name]["embedding"] for name in ("encoder", "right_encoder"))
    assert np.abs(left - right).max() > 0
    np.testing.assert_allclose(parameters(other)["encoder"]["embedding"], left, atol=0.01)


def test_the_last_layer_alone_is_trained_and_scratch_begins_elsewhere(
    pretrained: Path, files: dict[str, str], tmp_path: Path
) -> None:
    assert finetune(tmp_path / "last", files, "joint", f"--from={pretrained}", "--gin.FineTunedPart.layers=1") == 0
    before, after = pretrained_parameters(pretrained), parameters(tmp_path / "last")["encoder"]
    assert_same(after["embedding"], before["embedding"])
    for one, other in zip(jax.tree.leaves(after["layers"]), jax.tree.leaves(before["layers"]), strict=True):
        assert_same(one[0], other[0])
        assert np.abs(one[1] - other[1]).max() > 0 or one.shape[1:] == (32,)
    assert finetune(tmp_path / "scratch", files, "joint", f"--from={pretrained}", "--from_scratch", steps=2) == 0
    drawn = parameters(tmp_path / "scratch")["encoder"]["embedding"]
    assert np.abs(drawn - before["embedding"]).mean() > 0.01


def _items(row: Row) -> Row:
    return {"items": [row["left"], row["right"], row["left"]["title"]], "label": row["label"]}


def _named(row: Row) -> Row:
    return {"name": row["left"]["title"], "thing": row["left"]["title"].split()[1]}


def _said(row: Row) -> Row:
    words = row["left"]["title"].split()
    return {"tokens": words, "tags": ["B-brand", "O", "B-number"], "intent": f"find_{words[1]}"}


RECIPES: dict[str, tuple[Callable[[Row], Row], list[str], str]] = {
    "joint": (_items, [], "auc"),
    "clicks": (lambda row: row, ["--gin.JointTask.clicks=True"], "normalized_entropy"),
    "classification": (_named, ["--column", "text=name", "--column", "label=thing"], "macro_f1"),
    "regression": (lambda row: {"left": row["left"], "right": row["right"], "label": 0.5 * row["label"]}, [], "rmse"),
    "intents_and_slots": (_said, [], "slot_f1"),
    "hashed_ngrams": (lambda row: row, ["--gin.HashedNgrams.most=50", "--gin.HashedNgrams.buckets=64"], "auc"),
    "text_to_text": (
        lambda row: {"input": row["left"]["title"], "target": row["left"]["title"].split()[1]},
        ["--gin.TextToTextTask.targets_length=8"],
        "exact_match",
    ),
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_each_recipe_trains_and_is_evaluated(
    recipe: str, pretrained: Path, files: dict[str, str], tmp_path: Path
) -> None:
    rewrite, flags, metric = RECIPES[recipe]
    own = {}
    for name, path in files.items():
        rows = [rewrite(json.loads(line)) for line in Path(path).read_text(encoding="utf-8").splitlines()]
        own[name] = write_rows(tmp_path / f"{name}.jsonl", rows)
    begun = pretrained
    if recipe == "text_to_text":
        begun = write_run(tmp_path / "encoder_decoder", encoder_decoder())
    run_from = [] if recipe == "hashed_ngrams" else [f"--from={begun}"]
    overlap = ["--overlap=allow"]  # a brand and a thing may come twice
    name = {"clicks": "joint"}.get(recipe, recipe)
    assert finetune(tmp_path / "tuned", own, name, *run_from, *flags, *overlap, steps=2) == 0
    summary = read_summary(tmp_path / "tuned")
    assert (summary.steps, summary.began_with) == (2, str(begun) if run_from else None)
    assert summary.device
    assert summary.finished
    evaluated = ["evaluate", f"--run={tmp_path / 'tuned'}", f"--data={own['test']}", "--samples=20", *overlap]
    assert main(evaluated) == 0
    page = (tmp_path / "tuned" / "report.html").read_text(encoding="utf-8")
    assert "No evaluation was made" not in page
    assert f"<td>{metric}</td>" in page
    report = read_report_data(tmp_path / "tuned" / "evaluations" / "test")
    assert metric in report.groups[0].metrics
    assert main(evaluated) == 2  # nothing is written over


def _same_label(rows: list[Row]) -> list[Row]:
    return [{**row, "label": 0} for row in rows]


def _no_side(rows: list[Row]) -> list[Row]:
    return [{**row, "right": {"title": " "}} for row in rows]


def _renamed(rows: list[Row]) -> list[Row]:
    return [{"a": row["left"], "b": row["right"], "label": row["label"]} for row in rows]


def _graded(rows: list[Row]) -> list[Row]:
    return [{**row, "label": 3} for row in rows]


@pytest.mark.parametrize(
    ("recipe", "change", "flags", "message"),
    [
        ("joint", _same_label, [], "all 48 training examples have the label 0.0; two are needed"),
        ("two_tower", _same_label, [], "none of the 48 training pairs fits; one that does is needed"),
        ("two_tower", _no_side, [], r"48 of the first 48 records are bad .* right has no title"),
        (
            "two_tower",
            _renamed,
            [],
            "no column 'left'; name it with --column left=COLUMN; the columns are: a, b, label",
        ),
        ("two_tower", _graded, [], "label 3 is outside 0 to 1"),
        ("two_tower", None, ["--column", "left=lift"], "has no column 'lift'; did you mean left"),
        ("two_tower", None, ["--column", "lift=left"], "unknown field of these examples 'lift'; did you mean left"),
        ("two_towers", None, [], "two_tower.gin"),
        ("two_tower", None, ["--gin.FineTuning.length=65"], "length = 65 is over the encoder's maximum, 64"),
        ("two_tower", None, ["--gin.FineTuning.accumulation=2"], "set PairObjective.embedding_parts instead"),
        ("joint", None, ["--gin.FineTunedPart.layers=3"], "FineTunedPart.layers = 3; the encoder has 2"),
        ("text_to_text", None, [], "does not go with a model of EncoderConfig"),
        ("joint", None, ["--gin.FineTuning.task=@ClassificationTask()"], "is trained by Classification, not YesOrNo"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    recipe: str,
    change: Callable[[list[Row]], list[Row]] | None,
    flags: list[str],
    message: str,
    pretrained: Path,
    files: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = dict(files)
    if change is not None:
        rows = [json.loads(line) for line in Path(files["train"]).read_text(encoding="utf-8").splitlines()]
        own["train"] = write_rows(tmp_path / "changed.jsonl", change(rows))
    assert finetune(tmp_path / "tuned", own, recipe, f"--from={pretrained}", *flags) == 2
    said = capsys.readouterr().err
    assert re.search(message, said)
    assert said.count("m5jax: error:") == 1
    assert not (tmp_path / "tuned").exists()


def test_examples_that_are_in_both_files_are_counted_and_refused(
    pretrained: Path, files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [json.loads(line) for line in Path(files["valid"]).read_text(encoding="utf-8").splitlines()]
    both = {**files, "train": write_rows(tmp_path / "both.jsonl", [*pairs(40, 5), *rows[:3]])}
    assert finetune(tmp_path / "tuned", both, "joint", f"--from={pretrained}") == 2
    assert "3 of 43 training examples are in the validation data too" in capsys.readouterr().err
    assert finetune(tmp_path / "tuned", both, "joint", f"--from={pretrained}", "--overlap=drop", steps=2) == 0
    evaluate = ["evaluate", f"--run={tmp_path / 'tuned'}", f"--data={tmp_path / 'both.jsonl'}"]
    assert main(evaluate) == 2
    assert "40 of 43" in capsys.readouterr().err
    only = write_rows(tmp_path / "only.jsonl", _same_label(pairs(5, 9)))
    assert main(["evaluate", f"--run={tmp_path / 'tuned'}", f"--data={only}"]) == 2
    assert "one positive" in capsys.readouterr().err


def test_a_vocabulary_of_more_pieces_than_the_model_has_is_refused(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = write_run(tmp_path / "small", encoder(vocab_size=500))
    assert finetune(tmp_path / "tuned", files, "joint", f"--from={small}") == 2
    assert "has 520 pieces, its model rows for 500" in capsys.readouterr().err


def test_few_bad_rows_are_written_down_and_left_out(pretrained: Path, files: dict[str, str], tmp_path: Path) -> None:
    rows = [*pairs(2 * MINIMUM_RECORDS, 11), {"left": {"title": "acme lamp 1"}, "label": 1}]
    own = {**files, "train": write_rows(tmp_path / "rows.jsonl", rows)}
    assert finetune(tmp_path / "tuned", own, "joint", f"--from={pretrained}", steps=2) == 0
    (rejected,) = (tmp_path / "tuned.train.rejected.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(rejected)["reason"] == "right is missing or empty"
    assert dataclasses.asdict(load_fine_tuned(tmp_path / "tuned").config)["batch_size"] == 8
