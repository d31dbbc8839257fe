"""From a trained run to the scores of a task's records."""

from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from m5jax.configuration.live_data import set_run_vocabulary
from m5jax.configuration.load import check_model, import_task_modules, load_run_directory, restore_run
from m5jax.data.mixtures import record_count
from m5jax.data.pipeline import definition
from m5jax.data.record_examples import record_examples, record_task
from m5jax.data.scores import ScoreWriter
from m5jax.errors import UserError
from m5jax.evaluation.score_records import score_records
from m5jax.models import EncoderConfig


def score_task(
    run_dir: Path,
    task: str,
    output: Path,
    split: str = "train",
    step: int | None = None,
    task_modules: Sequence[str] = (),
    batch_size: int = 64,
) -> int:
    """Writes the loss of a run on each record of a task (see `m5jax.data.scores`); returns the number of records.

    Args:
        run_dir: of the run.
        task: a registered task over a corpus.
        output: Parquet file; must not exist.
        split: of the task.
        step: of the checkpoint; None: the newest intact one.
        task_modules: modules that register tasks, beside those of the run.
        batch_size: examples at a time.

    Raises:
        UserError: no such run, checkpoint, task or split, the run's model is no encoder, or the output exists or cannot
            be written.
    """
    if output.exists():
        raise UserError(f"{output} exists; remove it or choose another --output")
    run = load_run_directory(run_dir)
    check_model(run, EncoderConfig)
    import_task_modules([*run.task_modules, *task_modules])
    vocabulary = set_run_vocabulary(run)
    length, targets_length = run.data.length, run.data.targets_length
    count = record_count(record_task(task), split)
    records = record_examples(task, length=length, targets_length=targets_length, split=split)
    scored, model, parameters, mesh = restore_run(run, step)
    description = {
        "run": str(run_dir),
        "step": scored,
        "task": task,
        "split": split,
        "vocabulary": vocabulary.fingerprint,
        "definition": definition(task, length=length, targets_length=targets_length, seed=0, split=split),
    }
    with (
        ScoreWriter(output, description) as writer,
        tqdm(total=count, desc="scoring", unit=" records", unit_scale=True, disable=None) as progress,
    ):
        for scores in score_records(records, model, parameters, mesh, batch_size):
            writer.write(*scores)
            progress.update(len(scores.keys))
    return count
