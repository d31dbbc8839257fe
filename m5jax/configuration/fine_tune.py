"""From a prepared fine-tuning to one that trains: batches, validation, the training loop, and its result."""

import dataclasses
import hashlib
import logging
import math
from collections.abc import Callable
from contextlib import ExitStack

import gin
import jax
import numpy as np

from m5jax.configuration.fine_tuned_result import RESULT, Result
from m5jax.configuration.fine_tuned_run import pretrained_parameters
from m5jax.configuration.fine_tuning import FineTuning
from m5jax.configuration.log_file import logged
from m5jax.configuration.prepare_fine_tuning import Prepared, keep, prepare
from m5jax.configuration.run_directory import begun, check_run_directory, check_seen
from m5jax.configuration.run_records import begin_summary, end_summary
from m5jax.errors import UserError
from m5jax.evaluation.metrics.names import LESS_IS_BETTER
from m5jax.evaluation.report import write_report
from m5jax.evaluation.tables import format_table
from m5jax.files import write_json
from m5jax.finetuning.answering import make_answerer
from m5jax.finetuning.answers import SELECTED, measure
from m5jax.finetuning.assessment import fingerprint
from m5jax.finetuning.batches import ShuffledBatches
from m5jax.finetuning.examples import Example
from m5jax.finetuning.mining import Miner
from m5jax.finetuning.ngrams import HashedNgrams
from m5jax.finetuning.rows import PairRows, Rows, encode_examples, pair_sides
from m5jax.finetuning.scoring import Scorer
from m5jax.finetuning.search_validation import SELECTED_OF_SEARCH, make_search_validator
from m5jax.finetuning.tasks import Labels, TwoTowerTask
from m5jax.models import Parameters
from m5jax.training.checkpoints import FOLDER, Checkpoints
from m5jax.training.keep_policy import KeepPolicy
from m5jax.training.loop import TrainerConfig, Training, TrainingResult, train
from m5jax.training.optimizers import Optimizer
from m5jax.training.processes import LIBRARIES, check_alike, failing_together
from m5jax.training.run_log import FILE_NAME as METRICS
from m5jax.training.schedules import Cosine
from partitioning import batch_share

logger = logging.getLogger(__name__)

PREFIX = "evaluation/valid/"


def fine_tune(config: FineTuning) -> str:
    """Fine-tunes, or resumes, and returns the table that ends it.

    Raises:
      UserError: the configuration, the files or the run to begin with are not as they must be.
    """
    operative = gin.operative_config_str(max_line_length=100)
    check_alike({"configuration": hashlib.sha256(operative.encode()).hexdigest()[:16]})
    with failing_together():
        changes = check_run_directory(config.directory, operative)
        prepared = prepare(config)
        training = _training(config, prepared)
    check_alike({"training rows": training.batches.fingerprint, "validation rows": fingerprint(prepared.valid)})
    # The directory takes the config only once all is well.
    with ExitStack() as stack:
        with failing_together():
            if jax.process_index() == 0:
                stack.enter_context(begun(config.directory, operative))
                keep(config, prepared)
        with failing_together():
            check_seen(config.directory, operative)
            stack.enter_context(logged(config.directory, jax.process_index()))
        for change in changes:
            logger.info("changed since this run began: %s", change)
        _log_start(prepared, training)
        began_with = None if config.from_scratch else config.pretrained or None
        summary = begin_summary(training, LIBRARIES, began_with, {"result": RESULT})
        try:
            result = train(training)
            end_summary(training, summary, result, {})
            return _end(config, training, result)
        finally:
            if jax.process_index() == 0 and (config.directory / METRICS).exists():
                write_report(config.directory)


def _training(config: FineTuning, prepared: Prepared) -> Training:
    model, mesh, count = prepared.model, prepared.mesh, len(prepared.training)
    share = batch_share(mesh)
    weights = np.array([example.weight for example in prepared.training], np.float32)
    rows = _rows(config, prepared, prepared.training)
    steps = config.steps or math.ceil(config.epochs * count / config.batch_size)
    evaluate_every = config.evaluate_every or max(1, count // config.batch_size)
    batches = ShuffledBatches(rows, weights, config.batch_size, config.seed, share.index, share.count)
    return Training(
        run_dir=config.directory,
        model=model,
        objective=config.objective,
        optimizer=config.part.optimizer(_until(config.optimizer, steps), model),
        mesh=mesh,
        config=TrainerConfig(
            steps=steps,
            seed=config.seed,
            accumulation=config.accumulation,
            log_every=config.log_every,
            evaluate_every=evaluate_every,
            checkpoint_every=evaluate_every,
            keep=_keep_policy(config, prepared),
        ),
        batches=batches,
        batch_size=config.batch_size,
        evaluate=_evaluate(config, prepared),
        flops_per_token=_flops(config),
        initial=_initial(config, prepared.labels),
        refresh=_refresh(config, prepared, batches),
        refresh_every=config.refresh_every,
    )


def _refresh(
    config: FineTuning, prepared: Prepared, batches: ShuffledBatches
) -> Callable[[int, Parameters], dict[str, float]] | None:
    if config.negatives is None:
        return None
    scorer = Scorer(prepared.model, prepared.mesh, config.batch_size)
    return Miner(batches, *pair_sides(prepared.training), scorer, config.negatives).refresh


def _rows(config: FineTuning, prepared: Prepared, examples: list[Example]) -> Rows:
    return encode_examples(examples, config.task, prepared.labels, prepared.tokenizer, config.length)


def _keep_policy(config: FineTuning, prepared: Prepared) -> KeepPolicy:
    name, largest = SELECTED_OF_SEARCH if prepared.by_search else SELECTED[config.task.kind]
    if config.select == "calibration":
        raise UserError("FineTuning.select = 'calibration', which is best at 1; choose another metric")
    if config.select and config.select != name:
        name, largest = config.select, config.select not in LESS_IS_BETTER
    return KeepPolicy(last=1, best=f"{PREFIX}{name}", largest=largest)


def _until(optimizer: Optimizer, steps: int) -> Optimizer:
    """Returns the optimizer with a schedule that ends with the run, unless it has an end of its own."""
    schedule = optimizer.schedule
    if not isinstance(schedule, Cosine) or schedule.total_steps:
        return optimizer
    return dataclasses.replace(optimizer, schedule=dataclasses.replace(schedule, total_steps=steps))


def _initial(config: FineTuning, labels: Labels) -> Callable[[Parameters], Parameters] | None:
    if not config.pretrained or config.from_scratch:
        return None
    return lambda abstract: pretrained_parameters(config, labels, abstract)


def _evaluate(config: FineTuning, prepared: Prepared) -> Callable[[Parameters], dict[str, float]]:
    valid, kept = prepared.valid, _keep_policy(config, prepared)
    if prepared.by_search:
        assert isinstance(config.task, TwoTowerTask)
        rows = _rows(config, prepared, valid)
        assert isinstance(rows, PairRows)
        scorer = Scorer(prepared.model, prepared.mesh, config.batch_size)
        validate = make_search_validator(config.task, valid, rows, scorer)
    else:
        answer = make_answerer(
            config.task,
            valid,
            prepared.labels,
            prepared.model,
            prepared.mesh,
            prepared.tokenizer,
            config.length,
            config.batch_size,
        )

        def validate(parameters: Parameters) -> dict[str, float]:
            return measure(config.task, valid, answer(parameters))

    def evaluate(parameters: Parameters) -> dict[str, float]:
        values = {f"{PREFIX}{name}": value for name, value in validate(parameters).items()}
        kept.value(values)  # a metric that is none of these is said at the first evaluation, before a checkpoint
        return values

    return evaluate


def _flops(config: FineTuning) -> float:
    return 0.0 if isinstance(config.encoder, HashedNgrams) else config.encoder.flops_per_token(config.length, 0.0)


def _log_start(prepared: Prepared, training: Training) -> None:
    trained = prepared.model.trained_part(prepared.model.abstract_parameters)
    logger.info(
        "%d training and %d validation examples; %d of %d parameters are trained for %d steps",
        len(prepared.training),
        len(prepared.valid),
        sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(trained)),
        prepared.model.parameter_count,
        training.config.steps,
    )


def _end(config: FineTuning, training: Training, result: TrainingResult) -> str:
    """Writes what the best checkpoint is and measures, and returns it as a table."""
    with Checkpoints(config.directory / FOLDER, training.config.keep) as checkpoints:
        step, metrics = checkpoints.best()
    metrics = {name.removeprefix(PREFIX): value for name, value in metrics.items()}
    threshold = metrics.pop("threshold", None)
    if jax.process_index() == 0:
        write_json(config.directory / RESULT, dataclasses.asdict(Result(step, metrics, threshold)))
    rows = [[name, f"{value:.4f}"] for name, value in metrics.items()]
    table = format_table(("validation", "value"), rows, ("left", "right"))
    return f"{table}\n\nbest step   {step} of {result.step}\nwritten to  {config.directory}"
