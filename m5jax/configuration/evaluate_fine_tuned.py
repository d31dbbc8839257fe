"""Evaluation of a fine-tuned run on labelled rows: a report, and the predictions behind it."""

import dataclasses
import json
import logging
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from m5jax.configuration.fine_tuned_run import FineTuned, load_fine_tuned
from m5jax.configuration.prepare_fine_tuning import EXAMPLES
from m5jax.errors import UserError
from m5jax.evaluation.report_data import EvaluationReport
from m5jax.evaluation.report_tables import metric_table
from m5jax.evaluation.reports import EVALUATIONS, write_evaluation
from m5jax.evaluation.tables import format_table
from m5jax.finetuning.answering import make_answerer
from m5jax.finetuning.answers import Answers
from m5jax.finetuning.assessment import Assessment, fingerprint
from m5jax.finetuning.examples import Columns, Example, read_examples
from m5jax.finetuning.overlap import describe_overlap

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class EvaluationSettings:
    """What is evaluated, and how.

    Attributes:
      data: files of labelled rows.
      name: of the evaluation, a folder in the run directory's `evaluations`.
      columns: by field, where other than the fine-tuning's; `defaults`: for fields that rows leave empty.
      allow_overlap: also rows that were trained on.
      step: of the checkpoint; None: the best.
      batch_size: examples at a time.
      samples, seed: of the bootstrap.
    """

    data: tuple[str, ...]
    name: str
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    defaults: Mapping[str, str] = dataclasses.field(default_factory=dict)
    allow_overlap: bool = False
    step: int | None = None
    batch_size: int = 64
    samples: int = 1000
    seed: int = 0


def evaluate_fine_tuned(run_dir: Path, settings: EvaluationSettings) -> str:
    """Evaluates a fine-tuned run by the metrics of its task, writes `RUN_DIR/evaluations/NAME` and returns the table.

    Raises:
      UserError: the run or the data cannot be read, rows were trained on, there is an evaluation of this name, or a
        metric is not defined on the data.
    """
    folder = folder_of(run_dir, settings)
    tuned = load_fine_tuned(run_dir, settings.step)
    examples = read_held_out(tuned, settings, folder)
    answers = answer_examples(tuned, examples, settings.batch_size)
    threshold = None if tuned.result is None else tuned.result.threshold
    assessment = Assessment(tuned.config.task, examples, answers, threshold, settings.samples, settings.seed)
    report = assessment.report(f"{run_dir.resolve().name} on {settings.name}", facts_of(tuned, settings, examples))
    write_evaluation(folder, report, assessment.predictions())
    return summary(report, folder)


def folder_of(run_dir: Path, settings: EvaluationSettings) -> Path:
    """Returns where the evaluation is written; raises UserError where there is one already."""
    folder = run_dir / EVALUATIONS / settings.name
    if folder.exists():
        raise UserError(f"{folder} exists; remove it or choose another --name")
    return folder


def read_held_out(tuned: FineTuned, settings: EvaluationSettings, folder: Path) -> list[Example]:
    """Returns the examples; raises UserError as `evaluate_fine_tuned`."""
    rejected = rejected_rows(folder)
    examples = read_examples(settings.data, tuned.config.task, columns_of(tuned, settings), tuned.attributes, rejected)
    check_held_out(tuned, settings, examples)
    return examples


def rejected_rows(folder: Path, which: str = "") -> Path:
    """Returns where bad rows are written down: beside the evaluation, which is made once all is well."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder.with_name(f"{folder.name}{which}.rejected.jsonl")


def columns_of(tuned: FineTuned, settings: EvaluationSettings) -> Columns:
    """Returns where the data has fields: where the training rows had them, or as is said."""
    config = tuned.config
    return Columns({**config.columns, **settings.columns}, {**config.defaults, **settings.defaults})


def check_held_out(tuned: FineTuned, settings: EvaluationSettings, examples: Sequence[Example]) -> None:
    """Raises UserError where a run was trained on examples and that is not allowed."""
    trained = _training_keys(tuned.config.directory)
    shared = [example for example in examples if example.key in trained]
    if shared:
        message = describe_overlap(shared, len(examples), "evaluated", "training")
        if not settings.allow_overlap:
            raise UserError(f"{message}; allow it with --overlap=allow")
        logger.warning("%s: allowed", message)


def answer_examples(tuned: FineTuned, examples: Sequence[Example], batch_size: int) -> Answers:
    """Returns what a model says of examples in the way that it was trained to read."""
    config = tuned.config
    answer = make_answerer(
        config.task,
        examples,
        tuned.labels,
        tuned.model,
        tuned.mesh,
        tuned.tokenizer,
        config.length,
        batch_size,
    )
    return answer(tuned.parameters)


def _training_keys(run_dir: Path) -> frozenset[str]:
    try:
        return frozenset(json.loads((run_dir / EXAMPLES).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{run_dir / EXAMPLES} is damaged ({error}); a fine-tuning writes it") from error


def facts_of(tuned: FineTuned, settings: EvaluationSettings, examples: Sequence[Example]) -> dict[str, str]:
    """Returns what was evaluated and how, for the report."""
    facts = {
        "run": str(tuned.config.directory),
        "step": str(tuned.step),
        "data": ", ".join(settings.data),
        "fingerprint": fingerprint(examples),
        "rows": f"{len(examples):,}",
        "bootstrap": f"{settings.samples} samples, seed {settings.seed}",
        "command": shlex.join(["m5jax", *sys.argv[1:]]),
    }
    if tuned.result is not None and tuned.result.threshold is not None:
        facts["threshold"] = f"{tuned.result.threshold:.4g}, of the best F1 on the validation rows"
    return facts


def summary(report: EvaluationReport, folder: Path) -> str:
    """Returns the figures as a table, and where they were written."""
    headers, rows = metric_table(report.groups)
    table = format_table(headers, rows, ("left", *["right"] * (len(headers) - 1)))
    return f"{table}\n\nwritten to  {folder}"
