"""The runs of a study in MLflow (https://mlflow.org), where people look at them there."""

import itertools
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from m5jax.errors import UserError, first_line
from m5jax.studies.results import StudiedRun, StudyResults
from m5jax.training.run_log import RESERVED

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

_DIRECTORY = "m5jax.directory"  # the tag by which a run is found again
_AT_ONCE = 1000  # metrics, which is MLflow's limit


def log_to_mlflow(results: StudyResults, experiment: str, tracking_uri: str = "") -> int:
    """Logs the finished runs of a study that MLflow does not have yet, and returns how many these were.

    Axes and seed become parameters, the lines of `metrics.jsonl` metrics.

    Args:
      results: of the study.
      experiment: its name in MLflow; made where it is missing.
      tracking_uri: of the server or database; empty: where MLFLOW_TRACKING_URI says.

    Raises:
      UserError: MLflow is not installed, or refuses something.
    """
    try:
        # Its choice of defaults; nothing of ours is to be sent anywhere.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise UserError(f"MLflow is not installed ({error}); pip install 'm5jax[mlflow]'") from error
    try:
        client = MlflowClient(tracking_uri or None)
        found = client.get_experiment_by_name(experiment)
        identity = client.create_experiment(experiment) if found is None else found.experiment_id
        known = _known(client, identity)
        missing = [run for run in results.runs if str(run.reading.directory.resolve()) not in known]
        for run in missing:
            _log(client, identity, run)
    except MlflowException as error:
        raise UserError(f"MLflow: {first_line(error)}") from error
    return len(missing)


def _known(client: "MlflowClient", experiment: str) -> set[str]:
    """Returns the directories of the runs that are finished there."""
    known: set[str] = set()
    token: str | None = None
    while True:
        page = client.search_runs([experiment], "attributes.status = 'FINISHED'", page_token=token)
        known |= {run.data.tags.get(_DIRECTORY, "") for run in page}
        if not (token := page.token):
            return known


def _log(client: "MlflowClient", experiment: str, run: StudiedRun) -> None:
    from mlflow.entities import Param

    directory = run.reading.directory.resolve()
    made = client.create_run(experiment, run_name=directory.name, tags={_DIRECTORY: str(directory)})
    parameters = [Param(name.lstrip("-"), str(value)) for name, value in {**run.values, "seed": run.seed}.items()]
    client.log_batch(made.info.run_id, params=parameters)
    metrics = _metrics(run.reading.rows)
    while batch := list(itertools.islice(metrics, _AT_ONCE)):
        client.log_batch(made.info.run_id, metrics=batch)
    client.set_terminated(made.info.run_id)


def _metrics(rows: list[dict[str, Any]]) -> Iterator["Metric"]:
    from mlflow.entities import Metric

    for row in rows:
        for name, value in row.items():
            if name not in RESERVED:
                yield Metric(name, value, int(1000 * row.get("time", 0)), row["step"])
