"""Pictures of a study, and its report: one HTML file."""

import io
from collections.abc import Callable, Mapping
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from m5jax.evaluation.figures import INK, figure_settings, inline_svg
from m5jax.files import write_whole
from m5jax.html_page import PALETTE, html_definitions, html_page, html_section, html_table
from m5jax.tuning.ranges import gin_text
from m5jax.tuning.results import (
    BEST,
    TRIALS,
    Trials,
    best_gin,
    counts,
    note,
    ranked,
    short,
    state,
    summary,
    trials_csv,
)
from m5jax.tuning.settings import Tuning
from m5jax.tuning.study_directory import open_study, study_lock
from m5jax.tuning.worker import Work

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from optuna import Study

REPORT = "report.html"
# Below, the forest that estimates importance has next to nothing to learn from.
TRIALS_FOR_IMPORTANCE = 10
_COLORS = {"complete": PALETTE[0], "pruned": PALETTE[1]}

Draw = Callable[[], "Figure"]


def write_results(work: Work) -> str:
    """Writes best.gin, trials.csv, pictures and report.html beside a study; returns the text that ends the work.

    Raises:
      UserError: the directory is of another study, or cannot be written.
    """
    study = open_study(work.directory, work.tuning, work.definition)
    with study_lock(work.directory):
        trials = study.get_trials(deepcopy=False)
        importance, reason = importances(study, trials)
        pictures: dict[str, Draw] = {"history": lambda: draw_history(trials, work.tuning)}
        if importance:
            pictures["importance"] = lambda: draw_importance(importance)
        files = {TRIALS: trials_csv(trials, work.tuning)}
        if ranked(trials, work.tuning):
            files[BEST] = best_gin(trials, work)
        inline = {}
        for name, draw in pictures.items():
            files[f"{name}.svg"] = _svg(draw)
            inline[name] = _inline(draw, name)
        files[REPORT] = _page(work, trials, inline, reason)
        for name, text in files.items():
            write_whole(work.directory / name, text)
    written = ", ".join(str(work.directory / name) for name in sorted(files))
    return "\n".join([summary(trials, work.tuning), *([reason] if reason else []), f"written: {written}"])


def importances(study: "Study", trials: Trials) -> tuple[dict[str, float], str]:
    """Returns the share of each parameter in the variance of the metric (fANOVA, Hutter et al., ICML 2014), most first.

    Also why there is none; empty where there is. Pruned trials are left out: their values are of other steps.
    """
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    complete = sum(state(trial) == "complete" for trial in trials)
    if complete < TRIALS_FOR_IMPORTANCE:
        return {}, f"importance of the parameters: needs {TRIALS_FOR_IMPORTANCE} complete trials, there are {complete}"
    values = {trial.value for trial in trials if state(trial) == "complete"}
    if len(values) == 1:
        return {}, "importance of the parameters: none, all trials have the same value"
    return get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0)), ""


def draw_history(trials: Trials, tuning: Tuning) -> "Figure":
    """Returns a picture of the value of each trial, and of the best until then."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(6.5, 3.4), layout="constrained")
    axes = figure.subplots()
    for name, color in _COLORS.items():
        points = [(trial.number, trial.value) for trial in trials if state(trial) == name and trial.value is not None]
        points = [point for point in points if np.isfinite(point[1])]
        if points:
            axes.plot(*zip(*points, strict=True), "o" if name == "complete" else "x", color=color, label=name)
    complete = [(trial.number, trial.values[0]) for trial in trials if state(trial) == "complete"]
    if complete:
        numbers, values = zip(*complete, strict=True)
        best = (np.maximum if tuning.maximizes else np.minimum).accumulate(values)
        # Until the last trial, complete or not.
        axes.step([*numbers, len(trials) - 1], [*best, best[-1]], where="post", color=PALETTE[2], label="best so far")
    failed = [trial.number for trial in trials if state(trial) == "failed"]
    if failed:
        bottom = axes.get_xaxis_transform()
        axes.plot(failed, [0.0] * len(failed), "|", color=PALETTE[7], transform=bottom, label="failed", clip_on=False)
    axes.set_xlabel("trial")
    axes.set_ylabel(tuning.metric)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if axes.lines:
        axes.legend(fontsize="small", frameon=False)
    return figure


def draw_importance(importance: Mapping[str, float]) -> "Figure":
    """Returns a picture of the importance of each parameter, the largest above."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 0.9 + 0.35 * len(importance)), layout="constrained")
    axes = figure.subplots()
    names = list(importance)[::-1]
    bars = axes.barh(names, [importance[name] for name in names], color=PALETTE[0], height=0.6)
    axes.bar_label(bars, fmt="{:.0%}", padding=3)
    axes.set_xlim(0, 1.1 * max(importance.values()))
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.set_xlabel("share in the variance of the metric")
    return figure


def _svg(draw: Draw) -> str:
    from matplotlib import rc_context

    text = io.StringIO()
    with rc_context({**figure_settings("#1c2024"), "svg.hashsalt": "m5jax"}):
        figure = draw()
        figure.set_facecolor("white")
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _inline(draw: Draw, name: str) -> str:
    from matplotlib import rc_context

    with rc_context(figure_settings(INK)):
        return f"<figure>{inline_svg(draw(), name, name)}</figure>"


def _page(work: Work, trials: Trials, pictures: Mapping[str, str], reason: str) -> str:
    best = ranked(trials, work.tuning)[:1]
    headline = [counts(trials), f"{work.tuning.direction} {work.tuning.metric}"]
    headline += [f"best {trial.value:.6g}, of trial {trial.number}" for trial in best]
    values = {name: gin_text(value) for trial in best for name, value in trial.params.items()}
    note_ = f"<p>{escape(reason)}</p>" if reason else ""
    body = [
        f"<p>{escape(' · '.join(headline))}</p>",
        html_section("Best values", html_definitions(values)),
        html_section("History", pictures["history"]),
        html_section("Importance", pictures.get("importance", note_)),
        html_section("Trials", _table(trials, work.tuning)),
        html_section("Ranges", html_definitions(work.tuning.ranges)),
        html_section("Command of a trial", f"<pre>{escape(work.command.text())}</pre>"),
    ]
    return html_page(f"Study {work.directory.resolve().name}", body)


def _table(trials: Trials, tuning: Tuning) -> str:
    best = ranked(trials, tuning)
    others = [trial for trial in trials if state(trial) != "complete"]
    rows = [
        [
            str(trial.number),
            state(trial),
            "" if trial.value is None else f"{trial.value:.6g}",
            "" if trial.last_step is None else f"{trial.last_step:,}",
            *(short(trial.params.get(name)) for name in tuning.ranges),
            note(trial),
        ]
        for trial in (*best, *others)
    ]
    return html_table(("trial", "state", tuning.metric, "step", *tuning.ranges, "note"), rows)
