"""What a metric of a run is measured on: values of two runs are compared where that is the same."""

import hashlib
import json
from collections.abc import Mapping, Sequence

from m5jax.configuration.run_files import VOCABULARY
from m5jax.errors import UserError
from m5jax.evaluation.report_data import FILE_NAME as REPORT
from m5jax.evaluation.reports import EVALUATIONS
from m5jax.studies.reading import RunReading

# Of the configuration, what the held-out data of a training, and the validation data of a fine-tuning, are made of.
_OF_TRAINING = ("DataConfig.length", "DataConfig.targets_length", "DataConfig.evaluation_examples")
_OF_FINE_TUNING = ("FineTuning.valid", "FineTuning.columns", "FineTuning.defaults")
_OF_REPORT = ("fingerprint", "data")
# Those that do not count tokens mean the same with any vocabulary.
_ANY_VOCABULARY = ("nats_per_character",)


def definition_of(run: RunReading, metric: str) -> dict[str, str]:
    """Returns what a metric of a run is measured on, as texts by name; empty where that is the run itself, as of its
    speed."""
    if metric.startswith("evaluations/"):
        return _of_report(run, metric.split("/")[1])
    if not metric.startswith("evaluation/"):
        return {}
    if run.config.get("FineTuning.valid"):
        return {name: run.config.get(name, "") for name in _OF_FINE_TUNING}
    found = {name: run.config.get(name, "") for name in _OF_TRAINING}
    return found if metric.endswith(_ANY_VOCABULARY) else found | {"vocabulary": _vocabulary(run)}


def check_definitions(runs: Sequence[RunReading], metric: str) -> None:
    """Raises UserError where runs do not measure a metric on the same."""
    first: RunReading | None = None
    for run in runs:
        if first is None:
            first, known = run, definition_of(run, metric)
            continue
        own = definition_of(run, metric)
        if differing := [name for name in known if own.get(name) != known[name]]:
            name = differing[0]
            raise UserError(
                f"{metric} is not measured on the same: {name} is {_short(known[name])} in {first.directory} and "
                f"{_short(own.get(name, 'nothing'))} in {run.directory}; compare runs that do, or give "
                "same_metric=False"
            )


def _of_report(run: RunReading, name: str) -> dict[str, str]:
    path = run.directory / EVALUATIONS / name / REPORT
    try:
        facts: Mapping[str, str] = json.loads(path.read_text(encoding="utf-8"))["facts"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} is no report of an evaluation ({error})") from error
    return {key: facts.get(key, "") for key in _OF_REPORT}


def _vocabulary(run: RunReading) -> str:
    path = run.directory / VOCABULARY
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.exists() else ""


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
