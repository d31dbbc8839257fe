"""What a run's `summary.json` says of how it was made, from its start to its end."""

import dataclasses
import datetime
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax

from m5jax.evaluation.report import FILE_NAME as REPORT
from m5jax.evaluation.tables import LanguageResult, RunSummary, read_summary, write_summary
from m5jax.training.checkpoints import FOLDER as CHECKPOINTS
from m5jax.training.loop import Training, TrainingResult
from m5jax.training.processes import versions
from m5jax.training.run_log import FILE_NAME as METRICS

_PLACES = {"checkpoints": CHECKPOINTS, "metrics": METRICS, "report": REPORT}


def begin_summary(
    training: Training, libraries: Sequence[str], began_with: str | None, written: Mapping[str, str]
) -> RunSummary:
    """Writes, as the first process, and returns the summary of a run that starts; of one that resumes, with what is
    known of it so far.

    Args:
      training: that starts.
      libraries: whose versions are kept.
      began_with: whose parameters; None: they are drawn, or the run resumes.
      written: places in the run directory beside those of every run.

    Raises:
      UserError: there is a file that is no summary, or it cannot be written.
    """
    mesh, directory = training.mesh, training.run_dir
    known = read_summary(directory) if jax.process_index() == 0 else RunSummary()
    summary = dataclasses.replace(
        known,
        parameters=training.model.parameter_count,
        command=shlex.join(["m5jax", *sys.argv[1:]]),
        device=f"{mesh.size} x {mesh.devices.flat[0].device_kind} ({platform.machine()})",
        began_with=began_with or known.began_with,
        started=known.started or _now(),
        finished=None,
        versions=versions(libraries),
        written={name: str(directory / place) for name, place in {**_PLACES, **written}.items()},
    )
    _write(directory, summary)
    return summary


def end_summary(
    training: Training, summary: RunSummary, result: TrainingResult, languages: Mapping[str, LanguageResult]
) -> RunSummary:
    """Writes, as the first process, and returns the summary of a run that has ended; raises UserError as
    `begin_summary`."""
    row = training.flops_per_row
    trained = result.tokens_per_second is not None  # else it was finished already, and its speed is known
    summary = dataclasses.replace(
        summary,
        languages=languages,
        steps=result.step,
        flops=None if row is None else row * training.batch_size * result.step,
        tokens_per_second=result.tokens_per_second if trained else summary.tokens_per_second,
        model_flop_utilization=result.model_flop_utilization if trained else summary.model_flop_utilization,
        finished=_now(),
    )
    _write(training.run_dir, summary)
    return summary


def _write(directory: Path, summary: RunSummary) -> None:
    if jax.process_index() == 0:
        write_summary(directory, summary)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
