"""Evaluation of a pre-trained run on the values of products in files."""

import collections
import dataclasses
import hashlib
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from m5jax.configuration.live_data import set_run_vocabulary
from m5jax.configuration.load import import_task_modules, load_run_directory, restore_run
from m5jax.configuration.run import Run
from m5jax.configuration.run_directory import read_attributes
from m5jax.data.evaluation_batches import evaluation_tasks
from m5jax.data.mixtures import find_tasks
from m5jax.data.preprocessors import is_masked
from m5jax.data.read_records import read_records
from m5jax.data.records import ProductRecord
from m5jax.data.rejected import RejectLog
from m5jax.errors import UserError
from m5jax.evaluation.cloze import Cloze
from m5jax.evaluation.cloze_answers import answer_clozes, make_predict
from m5jax.evaluation.masked_report import Answered, Bootstrap, masked_predictions, masked_report, masked_table
from m5jax.evaluation.masked_values import most_frequent_values
from m5jax.evaluation.product_values import ProductValues
from m5jax.evaluation.reports import EVALUATIONS, check_new_folder, write_evaluation


@dataclasses.dataclass(frozen=True)
class ValueEvaluation:
    """How a run is evaluated on values.

    Attributes:
      data: files of products.
      name: of the report's folder in the run directory's `evaluations`.
      columns, defaults: see `read_records`.
      step: of the checkpoint; None: the newest intact one.
      batch_size: texts at a time.
      bootstrap: of the report's intervals.
    """

    data: tuple[str, ...]
    name: str
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    defaults: Mapping[str, str] = dataclasses.field(default_factory=dict)
    step: int | None = None
    batch_size: int = 64
    bootstrap: Bootstrap = Bootstrap()  # noqa: RUF009 (immutable)


def evaluate_values(run_dir: Path, settings: ValueEvaluation) -> str:
    """Hides each value of the products in files, asks a masked language model for it, and returns its table.

    Products are written as the run reads them. Writes `RUN_DIR/evaluations/NAME`.

    Raises:
      UserError: the run or a file cannot be read, the run is of no masked LM, no product has values, or there is such
        an evaluation.
    """
    folder = run_dir / EVALUATIONS / settings.name
    check_new_folder(folder)
    run = load_run_directory(run_dir)
    import_task_modules(run.task_modules)
    vocabulary = set_run_vocabulary(run)
    if not any(is_masked(find_tasks(name)[0]) for name in evaluation_tasks(*run.data.mixtures).values()):
        raise UserError(f"{run_dir} is of no masked LM: it cannot be asked for hidden values with --data")
    clozes = _clozes(settings, ProductValues(vocabulary, read_attributes(run_dir), run.data.length))
    step, model, parameters, mesh = restore_run(run, settings.step)
    predict = make_predict(model, mesh, vocabulary.text_size, settings.batch_size)
    answered = []
    for language, own in clozes.items():
        answers = answer_clozes(own, predict, parameters, vocabulary)
        frequent = most_frequent_values((row.blank.attribute, row.target) for rows in answers for row in rows)
        answered.append(Answered(language, own, answers, frequent))
    facts = _facts(run, step, settings, clozes)
    title = f"{run_dir.resolve().name} on values of {', '.join(Path(file).name for file in settings.data)}"
    report = masked_report(title, facts, answered, vocabulary, settings.bootstrap, (_BASELINE,))
    write_evaluation(folder, report, masked_predictions(answered))
    table = masked_table(report, list(clozes))
    return "\n\n".join([f"{run_dir}, step {step}", table, f"written to  {folder}"])


_BASELINE = "frequent_value_accuracy is of each attribute's most frequent value in these files: no constant is better"


def _clozes(settings: ValueEvaluation, values: ProductValues) -> dict[str, list[Cloze]]:
    """Returns the values of all products, hidden, by language; a product that is there twice counts once."""
    found: dict[str, dict[str, list[Cloze]]] = collections.defaultdict(dict)
    with tempfile.TemporaryDirectory() as scratch, RejectLog(Path(scratch) / "rejected.jsonl") as rejects:
        records = read_records(settings.data, "product", settings.columns, settings.defaults, rejects)
        for _, _, record in tqdm(records, unit=" products", desc="reading", disable=None):
            rejects.accept()
            assert isinstance(record, ProductRecord)
            if own := list(values.clozes(record)):
                found[record.language][own[0].unit] = own
    if not found:
        raise UserError(f"no product in {', '.join(settings.data)} has attributes whose values could be hidden")
    return {language: [c for own in found[language].values() for c in own] for language in sorted(found)}


def _facts(run: Run, step: int, settings: ValueEvaluation, clozes: Mapping[str, Sequence[Cloze]]) -> dict[str, str]:
    asked = sorted(f"{cloze.unit} {cloze.blanks[0].place}" for own in clozes.values() for cloze in own)
    return {
        "run": str(run.directory),
        "step": str(step),
        "data": ", ".join(settings.data),
        # Of the values that were hidden, however they are written.
        "fingerprint": hashlib.blake2b("\n".join(asked).encode(), digest_size=8).hexdigest(),
        **{f"hidden in {language}": f"{len(own):,} values" for language, own in clozes.items()},
        "bootstrap": f"{settings.bootstrap.samples} samples of texts, seed {settings.bootstrap.seed}",
        "command": shlex.join(["m5jax", *sys.argv[1:]]),
    }
