"""What a metric of a run is measured on: values of two runs are compared where that is the same."""

import hashlib
import json
from collections.abc import Mapping, Sequence

from m5jax.configuration.run_files import VOCABULARY
from m5jax.errors import UserError, first_line
from m5jax.evaluation.report_data import FILE_NAME as REPORT
from m5jax.evaluation.reports import EVALUATIONS
from m5jax.studies.reading import RunReading

# Of the configuration, what the held-out data of a training, and the validation data of a fine-tuning, are made of.
_OF_TRAINING = ("mixture", "replay_mixture", "length", "targets_length", "evaluation_examples")
_OF_FINE_TUNING = ("FineTuning.valid", "FineTuning.columns", "FineTuning.defaults")
# Of a report, figures of tokens: a token is another thing in another vocabulary.
_OF_TOKENS = ("token_accuracy", "unigram_accuracy", "nats_per_token")


def definition_of(run: RunReading, metric: str) -> dict[str, str]:
    """Returns what a metric of a run is measured on, as texts by name; empty where that is the run itself, as of its
    speed."""
    if metric.startswith("evaluations/"):
        return _of_report(run, metric)
    if not metric.startswith("evaluation/"):
        return {}
    if run.config.get("FineTuning.valid"):
        return {name: run.config.get(name, "") for name in _OF_FINE_TUNING}
    return _held_out(run) | {"vocabulary": _vocabulary(run)}


def _held_out(run: RunReading) -> dict[str, str]:
    return {f"DataConfig.{name}": run.config.get(f"DataConfig.{name}", "") for name in _OF_TRAINING}


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


def _of_report(run: RunReading, metric: str) -> dict[str, str]:
    path = run.directory / EVALUATIONS / metric.split("/")[1] / REPORT
    try:
        facts: Mapping[str, str] = json.loads(path.read_text(encoding="utf-8"))["facts"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} is no report of an evaluation ({first_line(error)})") from error
    # That of labelled rows is of the texts and labels themselves.
    if "fingerprint" in facts:
        return {"the data": facts["fingerprint"]}
    of_tokens = metric.rpartition("/")[2] in _OF_TOKENS
    return _held_out(run) | ({"vocabulary": facts.get("vocabulary", "")} if of_tokens else {})


def _vocabulary(run: RunReading) -> str:
    path = run.directory / VOCABULARY
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.exists() else ""


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
