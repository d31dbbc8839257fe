"""Evaluation of a pre-trained run on its own held-out data."""

import dataclasses
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from m5jax.configuration.launch import evaluator
from m5jax.configuration.live_data import live_held_out, run_held_out, set_run_vocabulary
from m5jax.configuration.load import import_task_modules, load_run_directory, restore_run
from m5jax.configuration.run import Run
from m5jax.configuration.run_directory import read_attributes
from m5jax.data.cut_texts import log_cut_texts
from m5jax.data.evaluation_batches import evaluation_tasks
from m5jax.data.mixtures import find_tasks
from m5jax.data.preprocessors import is_masked
from m5jax.data.vocabulary import Vocabulary
from m5jax.errors import UserError
from m5jax.evaluation.cloze_answers import answer_clozes, make_predict
from m5jax.evaluation.held_out import held_out_batches, language_results
from m5jax.evaluation.held_out_clozes import held_out_clozes, row_texts
from m5jax.evaluation.masked_report import Answered, Bootstrap, masked_predictions, masked_report, masked_table
from m5jax.evaluation.masked_values import Values
from m5jax.evaluation.reports import EVALUATIONS, check_new_folder, write_evaluation
from m5jax.evaluation.tables import LanguageResult, result_tables

NAME = "held_out"
_ROWS_AT_ONCE = 64


@dataclasses.dataclass(frozen=True)
class HeldOutEvaluation:
    """How a run is evaluated.

    Attributes:
      name: of the report's folder in the run directory's `evaluations`.
      step: of the checkpoint; None: the newest intact one.
      output: a file for loss and accuracy as JSON, of whatever model; None: none.
      batch_size: texts at a time.
      bootstrap: of the report's intervals.
    """

    name: str = NAME
    step: int | None = None
    output: Path | None = None
    batch_size: int = 64
    bootstrap: Bootstrap = Bootstrap()  # noqa: RUF009 (immutable)


def evaluate_run(run_dir: Path, settings: HeldOutEvaluation) -> str:
    """Evaluates a run on the held-out data of each language and returns its tables.

    Where tasks are masked LM, also writes `RUN_DIR/evaluations/NAME`: tokens, whole words and values of attributes.

    Raises:
      UserError: the run or its data cannot be read, or a file that would be written exists or cannot be.
    """
    output, folder = settings.output, run_dir / EVALUATIONS / settings.name
    if output is not None and (output.exists() or not output.parent.is_dir()):
        reason = "exists" if output.exists() else f"cannot be written: there is no directory {output.parent}"
        raise UserError(f"{output} {reason}; choose another --output")
    run = load_run_directory(run_dir)
    import_task_modules(run.task_modules)
    vocabulary = set_run_vocabulary(run)
    tasks = evaluation_tasks(*run.data.mixtures)
    masked = [label for label, name in tasks.items() if is_masked(find_tasks(name)[0])]
    if masked:
        check_new_folder(folder)
    step, model, parameters, mesh = restore_run(run, settings.step)
    held_out = run_held_out(run)
    rows = held_out_batches(held_out, mesh, run.data.batch_size)
    results = language_results(held_out, evaluator(run, model, mesh, tasks, rows)(parameters))
    log_cut_texts()
    if output is not None:
        _write_figures(output, step, results)
    parts = [f"{run_dir}, step {step}", result_tables(results)]
    if not masked:
        return "\n\n".join(parts)
    predict = make_predict(model, mesh, vocabulary.text_size, settings.batch_size)
    names = read_attributes(run_dir).names
    answered, notes = [], _left_out(tasks, masked)
    for label in masked:
        frequent, reason = _frequent_values(run, label, vocabulary, names)
        notes += [f"{label}: values have no baseline: {reason}"] if reason else []
        clozes = held_out_clozes(held_out.batches(label, _ROWS_AT_ONCE), vocabulary, names)
        answers = answer_clozes(clozes, predict, parameters, vocabulary)
        answered.append(Answered(label, clozes, answers, frequent, results[label].unigram_accuracy))
    facts = _facts(run, step, vocabulary, settings.bootstrap, answered)
    title = f"{run_dir.resolve().name} on held-out data"
    report = masked_report(title, facts, answered, vocabulary, settings.bootstrap, notes)
    write_evaluation(folder, report, masked_predictions(answered))
    return "\n\n".join([*parts, masked_table(report, masked), f"written to  {folder}"])


def _frequent_values(
    run: Run, label: str, vocabulary: Vocabulary, names: Sequence[str]
) -> tuple[dict[str, str] | None, str]:
    """Returns the most frequent training value of each attribute, or None and why they are not known."""
    try:
        # Rows that were written down hold no training texts by language, so that these are read anew.
        return Values(vocabulary, names).most_frequent(row_texts(live_held_out(run).training_batches(label))), ""
    except UserError as error:
        return None, str(error)


def _left_out(tasks: Mapping[str, str], masked: Sequence[str]) -> list[str]:
    others = [label for label in tasks if label not in masked]
    return [f"not here, since they are no masked LM: {', '.join(others)}"] if others else []


def _facts(
    run: Run, step: int, vocabulary: Vocabulary, bootstrap: Bootstrap, answered: Sequence[Answered]
) -> dict[str, str]:
    counts = {
        own.label: ", ".join(f"{len(own.rows(hidden)):,} {hidden}s" for hidden in ("token", "word", "value"))
        for own in answered
    }
    return {
        "run": str(run.directory),
        "step": str(step),
        "data": ", ".join(run.data.mixtures),
        "vocabulary": vocabulary.fingerprint,
        **{f"hidden in {label}": count for label, count in counts.items()},
        "bootstrap": f"{bootstrap.samples} samples of texts, seed {bootstrap.seed}",
        "command": shlex.join(["m5jax", *sys.argv[1:]]),
    }


def _write_figures(output: Path, step: int, results: Mapping[str, LanguageResult]) -> None:
    figures = {"step": step, "languages": {name: vars(result) for name, result in results.items()}}
    try:
        output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}") from error
