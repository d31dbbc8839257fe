"""From a described run to one that trains: vocabulary, mesh, model, input, then the loop."""

import dataclasses
import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import gin
import jax
from jax.sharding import Mesh

from m5jax.configuration.initial_parameters import find_initial_run
from m5jax.configuration.live_data import (
    check_tasks,
    live_batches,
    run_definition,
    run_held_out,
    set_run_vocabulary,
    vocabulary_path,
)
from m5jax.configuration.load import import_task_modules
from m5jax.configuration.log_file import logged
from m5jax.configuration.run import Run
from m5jax.configuration.run_directory import (
    begun,
    check_run_directory,
    check_seen,
    keep_attributes,
    keep_labels,
    keep_vocabulary,
    model_differences,
)
from m5jax.configuration.run_files import VOCABULARY
from m5jax.configuration.run_records import begin_summary, end_summary
from m5jax.data.batch_iterator import BatchIterator
from m5jax.data.cut_texts import log_cut_texts
from m5jax.data.embedding_format import embedding_format
from m5jax.data.evaluation_batches import evaluation_tasks
from m5jax.data.materialized import MaterializedBatches, read_rows
from m5jax.data.mixtures import find_tasks
from m5jax.data.preprocessors import is_masked
from m5jax.data.vocabulary import current_vocabulary
from m5jax.errors import unknown_name
from m5jax.evaluation.evaluator import HeldOut as HeldOutRows
from m5jax.evaluation.evaluator import make_evaluate
from m5jax.evaluation.fill_masks import make_fill
from m5jax.evaluation.filled_texts import FILE_NAME as SAMPLES
from m5jax.evaluation.filled_texts import filled_as_json
from m5jax.evaluation.held_out import HeldOut, held_out_batches, language_results
from m5jax.evaluation.report import write_report
from m5jax.evaluation.tables import run_summary
from m5jax.evaluation.task_metrics import make_task_metrics
from m5jax.files import write_json
from m5jax.models import FunctionalModel, Parameters
from m5jax.models.mesh_checks import check_mesh
from m5jax.objectives import LanguageModel, SequenceToSequence
from m5jax.training.loop import Training, train
from m5jax.training.processes import LIBRARIES as TRAINING_LIBRARIES
from m5jax.training.processes import check_alike, failing_together
from partitioning import batch_share, check_batch, make_mesh

logger = logging.getLogger(__name__)

LIBRARIES = (*TRAINING_LIBRARIES, "seqio", "tensorflow", "sentencepiece")


def train_run(run: Run) -> str:
    """Trains or resumes the run, writes its summary and report, and returns the table that ends it.

    Of several processes each reads its share of the data, and the first one writes the run directory.
    """
    config = gin.operative_config_str(max_line_length=100)
    devices = f"{jax.local_device_count()} x {jax.local_devices()[0].device_kind}"
    check_alike({"devices": devices, "configuration": hashlib.sha256(config.encode()).hexdigest()[:16]})
    with failing_together():
        changes = check_run_directory(run.directory, config)
        training, held_out = _training(run)
    check_alike({"data": training.batches.fingerprint, "start": str(training.initial)})
    # The directory takes the config only once there is data to train on.
    with ExitStack() as stack:
        with failing_together():
            if jax.process_index() == 0:
                stack.enter_context(_begun(run, config))
        with failing_together():
            check_seen(run.directory, config)
            stack.enter_context(logged(run.directory, jax.process_index()))
        if jax.process_count() > 1:
            share = batch_share(training.mesh)
            part = f"part {share.index + 1} of {share.count} of each batch"
            logger.info("process %d of %d has %s, %s", jax.process_index(), jax.process_count(), devices, part)
        for change in changes:
            logger.info("changed since this run began: %s", change)
        for difference in model_differences(Path(run.initial_run), config) if training.initial else ():
            logger.info("not as in %s: %s", run.initial_run, difference)
        began_with = str(training.initial) if training.initial else None
        summary = begin_summary(training, LIBRARIES, began_with, {"vocabulary": VOCABULARY})
        try:
            result = train(training)
            summary = end_summary(training, summary, result, language_results(held_out, result.evaluation))
        finally:
            log_cut_texts()
            if jax.process_index() == 0:
                write_report(run.directory)
    return run_summary(summary)


def _training(run: Run) -> tuple[Training, HeldOut]:
    """Returns what a run is made of, and its held-out data; nothing is written."""
    mesh = make_mesh(run.mesh)
    check_batch(mesh, run.data.batch_size, run.trainer.accumulation)
    check_mesh(run.model, mesh, run.data.length)
    import_task_modules(run.task_modules)
    check_tasks(run)
    tasks = evaluation_tasks(*run.data.mixtures)
    vocabulary = set_run_vocabulary(run)
    model = FunctionalModel.from_config(run.model)
    initial = find_initial_run(run, model, vocabulary)
    objective = _objective(run, tasks)
    batches = _training_batches(run, mesh)
    held_out = run_held_out(run)
    held_out_rows = held_out_batches(held_out, mesh, run.data.batch_size)
    inputs, targets = (batches.shapes[name][1] for name in ("inputs", "targets"))
    flops_per_token = run.model.flops_per_token(run.data.length, targets / inputs)
    training = Training(
        run_dir=run.directory,
        model=model,
        objective=objective,
        optimizer=run.optimizer,
        mesh=mesh,
        config=run.trainer,
        batches=batches,
        batch_size=run.data.batch_size,
        evaluate=evaluator(run, model, mesh, tasks, held_out_rows),
        flops_per_token=flops_per_token,
        flops_per_row=flops_per_token * (inputs + targets if run.separate_targets else inputs),
        initial=initial,
        inspect=_sampler(run, model, mesh, tasks, held_out_rows),
    )
    return training, held_out


def _sampler(
    run: Run, model: FunctionalModel, mesh: Mesh, tasks: Mapping[str, str], held_out: HeldOutRows
) -> Callable[[Parameters], None] | None:
    """Returns what writes some masked texts with their likeliest fills; None where no task has any."""
    masked = {label: held_out[label] for label, name in tasks.items() if is_masked(find_tasks(name)[0])}
    if not masked:
        return None
    fill = make_fill(model, mesh, masked, current_vocabulary())

    def write(parameters: Parameters) -> None:
        filled = fill(parameters)
        if jax.process_index() == 0:
            write_json(run.directory / SAMPLES, filled_as_json(filled))

    return write


@contextmanager
def _begun(run: Run, config: str) -> Iterator[None]:
    """Within its context the run directory is this run's, and holds what the run was begun with."""
    with begun(run.directory, config):
        keep_vocabulary(run.directory, vocabulary_path(run))
        keep_labels(run.directory, current_vocabulary().labels)
        keep_attributes(run.directory, embedding_format(run.data.mixture))
        yield


def _training_batches(run: Run, mesh: Mesh) -> BatchIterator | MaterializedBatches:
    data, share = run.data, batch_share(mesh)
    if data.materialized:
        rows = read_rows(Path(data.materialized))
        rows.check(run_definition(run))
        return MaterializedBatches(rows, data.batch_size, share.index, share.count)
    return live_batches(run, data.batch_size // share.count, share.index, share.count)


def _objective(run: Run, tasks: Mapping[str, str]) -> LanguageModel | SequenceToSequence:
    """Returns the run's objective, with metrics and weights of each task where there are several."""
    if len(tasks) == 1 and not run.objective.task_weights:
        return run.objective
    weights = dict.fromkeys(tasks.values(), 1.0)
    for name, weight in run.objective.task_weights.items():
        for task in find_tasks(name):
            if task.name not in weights:
                raise unknown_name(
                    f"task of the run in {type(run.objective).__name__}.task_weights", task.name, weights
                )
            weights[task.name] = weight
    weighted = tuple(weights.values()) if run.objective.task_weights else ()
    return dataclasses.replace(run.objective, tasks=tuple(tasks), weights=weighted)


def evaluator(
    run: Run, model: FunctionalModel, mesh: Mesh, tasks: Mapping[str, str], held_out: HeldOutRows
) -> Callable[[Parameters], dict[str, float]]:
    """Returns what measures loss, accuracy and the tasks' own metrics on their `held_out_batches`."""
    losses = make_evaluate(model, run.objective, mesh, held_out)
    metrics = make_task_metrics(model, mesh, tasks, held_out)
    return lambda parameters: losses(parameters) | metrics(parameters)
