"""What came of a study: a table, the best values as a gin file, and all trials as CSV."""

import csv
import io
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tabulate import tabulate

from m5jax.tuning.ranges import binding_flags, gin_text
from m5jax.tuning.settings import Tuning
from m5jax.tuning.worker import NOTE, STATES, Work

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

BEST = "best.gin"
TRIALS = "trials.csv"
_SHOWN = 10
_NOTES = 5

Trials = Sequence["FrozenTrial"]


def ranked(trials: Trials, tuning: Tuning) -> "list[FrozenTrial]":
    """Returns the complete trials, best first; of equal ones the earlier."""
    sign = -1 if tuning.maximizes else 1
    return sorted((trial for trial in trials if state(trial) == "complete"), key=lambda trial: sign * trial.values[0])


def state(trial: "FrozenTrial") -> str:
    return STATES[trial.state.name]


def summary(trials: Trials, tuning: Tuning) -> str:
    """Returns the table of the best trials, how many of which state there are, and why some failed."""
    headers = ("trial", tuning.metric, *tuning.ranges)
    rows = [
        (trial.number, f"{trial.value:.6g}", *(short(trial.params.get(name)) for name in tuning.ranges))
        for trial in ranked(trials, tuning)[:_SHOWN]
    ]
    notes = [f"trial {trial.number} {state(trial)}: {note(trial)}" for trial in trials if note(trial)]
    left = [f"and {len(notes) - _NOTES} more; see {TRIALS}"] if len(notes) > _NOTES else []
    table = [tabulate(rows, headers, disable_numparse=True, colalign=("right",) * len(headers)), ""] if rows else []
    return "\n".join([*table, counts(trials), *notes[:_NOTES], *left])


def counts(trials: Trials) -> str:
    """Returns how many trials there are of each state, in words."""
    states = [state(trial) for trial in trials]
    by_state = ", ".join(f"{states.count(name)} {name}" for name in STATES.values() if name in states)
    return f"{len(trials)} trial{'s' if len(trials) > 1 else ''}: {by_state}" if trials else "no trials"


def note(trial: "FrozenTrial") -> str:
    return str(trial.user_attrs.get(NOTE, ""))


def short(value: float | str | None) -> str:
    """Returns a tuned value as a table shows it."""
    return f"{value:.4g}" if isinstance(value, float) else str("" if value is None else value)


def best_gin(trials: Trials, work: Work) -> str:
    """Returns a gin file of the values of the best trial; of complete ones there must be one."""
    best = ranked(trials, work.tuning)[0]
    command = work.command
    path = work.directory / BEST
    flags = [f"--gin_file={path}"] if command.kind.takes_gin_files else binding_flags(best.params)
    typed = command.text(flags, Path("runs/best"))
    lines = [
        f"# The best of a study, trial {best.number}: {work.tuning.metric} = {best.value!r} ({work.tuning.direction}).",
        f"# {counts(trials)}. To use it:",
        f"#   {typed}",
        "",
        *(f"{name} = {gin_text(value)}" for name, value in best.params.items()),
    ]
    return "\n".join(lines) + "\n"


def trials_csv(trials: Trials, tuning: Tuning) -> str:
    """Returns a row a trial: number, state, value, last step with a value, tuned values, start, end, note."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "state", tuning.metric, "step", *tuning.ranges, "started", "ended", "note"])
    for trial in trials:
        values = [trial.params.get(name) for name in tuning.ranges]
        times = [_iso(time) for time in (trial.datetime_start, trial.datetime_complete)]
        writer.writerow([trial.number, state(trial), trial.value, trial.last_step, *values, *times, note(trial)])
    return text.getvalue()


def _iso(time: datetime | None) -> str:
    """Returns Optuna's local time with its zone."""
    return time.astimezone().isoformat(timespec="seconds") if time else ""
