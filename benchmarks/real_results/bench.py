"""Where runs of this benchmark are, how they are made, and the figures so far."""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import jax

from benchmarks.environment import environment
from m5jax.cli.main import main as m5jax
from m5jax.data.readers import read_rows
from m5jax.evaluation.estimates import Estimate
from m5jax.evaluation.report_data import read_report_data

REPOSITORY = Path(__file__).resolve().parents[2]
RESULT = REPOSITORY / "benchmarks" / "results" / "real_results.json"
SEEDS = (0, 1, 2)

Row = dict[str, Any]
Job = tuple[Any, ...]  # a function and, after the bench, its arguments
Jobs = dict[str, Job]  # by name


class Results:
    """The figures so far, by part and name; each is written as soon as it is there."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, Any]] = {}
        if RESULT.is_file():
            self.values = json.loads(RESULT.read_text(encoding="utf-8"))["parts"]

    def has(self, part: str, name: str) -> bool:
        return name in self.values.get(part, {})

    def add(self, part: str, name: str, figures: Mapping[str, Any]) -> None:
        self.values.setdefault(part, {})[name] = dict(figures)
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(json.dumps({"environment": environment(), "parts": self.values}, indent=2) + "\n", "utf-8")
        print(part, name, json.dumps(figures), flush=True)


class Bench:
    """Where runs are, and what they are made from."""

    def __init__(self, data: Path, work: Path) -> None:
        self.data, self.work, self.results = data, work, Results()
        work.mkdir(parents=True, exist_ok=True)

    @property
    def vocabulary(self) -> Path:
        return self.work / "vocabulary.model"

    @property
    def pretrained(self) -> Path:
        return self.work / "pretrained"

    @property
    def matching(self) -> Path:
        return self.work / "matching"

    def file(self, folder: str, name: str) -> str:
        return str(self.data / folder / f"{name}.jsonl.zst")

    def rows(self, folder: str, name: str, file: str, change: Callable[[Row], Row | None]) -> str:
        """Returns a file in the working folder with the changed rows of one of the data."""
        path = self.work / f"{file}.jsonl"
        if not path.exists():
            partial = path.with_suffix(".partial")
            with partial.open("w", encoding="utf-8") as output:
                for _, row in read_rows(self.file(folder, name), on_bad=refuse):
                    if (changed := change(dict(row))) is not None:
                        output.write(json.dumps(changed, ensure_ascii=False) + "\n")
            partial.rename(path)
        return str(path)

    def finetune(self, name: str, begin: Path | None, recipe: str, train: str, valid: str, *flags: str) -> None:
        """Fine-tunes unless that is done."""
        run_dir = self.work / name
        if not (run_dir / "fine_tuned" / "result.json").exists():
            run_from = [] if begin is None else [f"--from={begin}"]
            command = ["finetune", *run_from, f"--train={train}", f"--valid={valid}", f"--recipe={recipe}"]
            run([*command, f"--run_dir={run_dir}", "--overlap=drop", *flags])

    def result(self, name: str) -> dict[str, float]:
        """Returns the metrics of a fine-tuned run on its validation data."""
        path = self.work / name / "fine_tuned" / "result.json"
        metrics: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))["metrics"]
        return metrics

    def evaluate(self, name: str, data: str, evaluation: str, *flags: str) -> dict[str, dict[str, Any]]:
        """Evaluates unless that is done, and returns the metrics of each group."""
        folder = self.work / name / "evaluations" / evaluation
        if not folder.exists():
            run(["evaluate", f"--run={self.work / name}", f"--data={data}", f"--name={evaluation}", *flags])
        return {group.name: _figures(group.metrics) for group in read_report_data(folder).groups}


def _figures(metrics: Mapping[str, Estimate]) -> dict[str, Any]:
    values = {name: round(found.value, 4) for name, found in metrics.items()}
    return values | {f"{name} interval": [found.low, found.high] for name, found in metrics.items()}


def run(command: Sequence[str]) -> None:
    """Runs a command of m5jax in this process; raises where it fails."""
    print("m5jax", *command, file=sys.stderr, flush=True)
    if status := m5jax(list(command)):
        raise SystemExit(f"m5jax {' '.join(command)} ended with status {status}")


def run_jobs(bench: Bench, part: str, jobs: Jobs) -> None:
    """Runs the jobs of a part that have no figures yet side by side, and keeps their figures."""
    missing = {name: job for name, job in jobs.items() if not bench.results.has(part, name)}
    cores = sorted(os.sched_getaffinity(0))
    context = get_context("spawn")
    own: Queue[int] = context.Queue()
    for core in cores:
        own.put(core)
    with ProcessPoolExecutor(len(cores), context, _begin_worker, (own, bench.work)) as pool:
        futures = {pool.submit(timed, job[0], bench, *job[1:]): name for name, job in missing.items()}
        try:
            for future in as_completed(futures):
                bench.results.add(part, futures[future], future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def timed(function: Callable[..., Row], *arguments: Any) -> Row:
    """Returns the figures that a function returns, with the time that it had a core for, and its processes had."""
    before = _core_seconds()
    return function(*arguments) | {"core_seconds": round(_core_seconds() - before)}


def _core_seconds() -> float:
    own = os.times()
    return own.user + own.system + own.children_user + own.children_system


def _begin_worker(cores: "Queue[int]", work: Path) -> None:
    os.sched_setaffinity(0, {cores.get()})
    jax.config.update("jax_compilation_cache_dir", str(work / "compiled"))


def refuse(location: str, reason: str) -> None:
    raise ValueError(f"{location}: {reason}")


def settings(**settings: Any) -> list[str]:
    return [f"--gin.FineTuning.{name}={value!r}" for name, value in settings.items()]
