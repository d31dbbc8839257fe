"""Evaluations of a fine-tuned run, as `m5jax evaluate` makes them."""

import dataclasses
from pathlib import Path

import jax

from m5jax.configuration.evaluate_fine_tuned import EvaluationSettings, evaluate_fine_tuned
from m5jax.configuration.fine_tuned_result import RESULT, Result
from m5jax.configuration.fine_tuned_run import LABELS, NGRAMS, make_model
from m5jax.configuration.load import load
from m5jax.configuration.prepare_fine_tuning import EXAMPLES
from m5jax.configuration.run_files import CONFIG
from m5jax.evaluation.predictions import read_predictions
from m5jax.evaluation.report_data import read_report_data
from m5jax.evaluation.reports import EVALUATIONS
from m5jax.files import write_json
from m5jax.finetuning.ngrams import count_ngrams
from m5jax.finetuning.tasks import Labels
from m5jax.training.checkpoints import FOLDER, Checkpoints
from m5jax.training.keep_policy import KeepPolicy
from m5jax.training.state import init_state
from tests.configuration.pretrained_run import pairs, write_rows
from tests.training.tiny import OPTIMIZER, TinyBatches

STEP = 2


def write_ngrams(run_dir: Path, texts: list[str]) -> Path:
    """Writes a fine-tuned bag of n-grams made without fine-tuning, with one checkpoint, and returns its directory."""
    run_dir.mkdir()
    bound = {"run_dir": str(run_dir), "train": ("a",), "valid": ("b",)}
    lines = ["include 'gin_configs/recipes/hashed_ngrams.gin'"]
    lines += [f"FineTuning.{name} = {value!r}" for name, value in bound.items()]
    (run_dir / CONFIG).write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_json(run_dir / LABELS, dataclasses.asdict(Labels()))
    write_json(run_dir / EXAMPLES, [])
    tokenizer = count_ngrams(texts, 40, 50)
    tokenizer.save(run_dir / NGRAMS)
    model = make_model(load([str(run_dir / CONFIG)], [], "FineTuning"), tokenizer, Labels())
    state = init_state(model, OPTIMIZER.make(model.logical_axes, 1.0), jax.random.key(0))
    with Checkpoints(run_dir / FOLDER, KeepPolicy()) as checkpoints:
        checkpoints.save(STEP, state, TinyBatches())
    return run_dir


def test_the_threshold_of_the_best_checkpoint_is_that_of_no_other_step(tmp_path: Path) -> None:
    rows = pairs(24, 0)
    run_dir = write_ngrams(tmp_path / "run", [row["left"]["title"] for row in rows])
    data = write_rows(tmp_path / "test.jsonl", rows)
    for best, threshold in ((1, 0.0), (STEP, 1e6)):
        write_json(run_dir / RESULT, dataclasses.asdict(Result(best, {}, threshold=1e6)))
        name = f"best_{best}"
        evaluate_fine_tuned(run_dir, EvaluationSettings((data,), name, step=STEP, samples=2))
        folder = run_dir / EVALUATIONS / name
        facts, table = read_report_data(folder).facts, read_predictions(folder).table
        assert (facts["step"], "threshold" in facts) == (str(STEP), best == STEP)
        scores = table["score"].to_pylist()
        assert max(scores) > 0.0  # or nothing would tell the thresholds apart
        assert table["predicted"].to_pylist() == [score >= threshold for score in scores]
