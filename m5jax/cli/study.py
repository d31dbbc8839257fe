"""`m5jax study`: ablations, many runs as one table."""

import argparse
from pathlib import Path
from typing import Any

from m5jax.configuration.flags import positive

DESCRIPTION = """Makes the runs of a study, each condition with each seed, and shows what came of them.

  m5jax study run study.gin --workers=2
  m5jax study status study.gin
  m5jax study table study.gin --metric=evaluation/de/loss --output=table.tex
  m5jax study table "runs/*" --metric=evaluation/en/loss
  m5jax study plot study.gin --kind=curves --output=curves.png
  m5jax study submit study.gin --scheduler=slurm --hardware=h100:1x8 --output=study.sbatch

A study is a gin file:

  Study.base = 'gin_configs/experiments/quickstart.gin'
  Study.axes = {'Cosine.peak': [1e-3, 3e-3], 'BATCH_SIZE': [8, 16]}
  Study.seeds = 3
  Study.directory = 'runs/peaks'
  Study.metrics = ['evaluation/en/loss', 'evaluation/de/loss']

What is finished is not made again, and what was stopped goes on. A table is of any runs, too: name their directories.

Exit status: 0 done; 1 runs failed; 2 something to mend; 75 stopped by SIGTERM or Ctrl-C (run it again).
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "study",
        help="make and compare the runs of an ablation study",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    run_ = _add_action(actions, "run", _run, "make the runs that are not finished")
    run_.add_argument("--workers", type=positive, default=1, metavar="N", help="runs at a time (default: 1)")
    run_.add_argument("--only", type=int, metavar="I", help="the run of this number alone, from 0, as of a job array")
    _add_action(actions, "status", _status, "show which runs are finished")
    table = _add_action(actions, "table", _table, "show means and intervals over seeds", of_runs=True)
    _add_metrics(table)
    table.add_argument(
        "--output", type=Path, metavar="FILE", help="also write it: .csv, .tex or .md; .json: each run; must not exist"
    )
    plot = _add_action(actions, "plot", _plot, "draw curves, a heat map, or quality against cost", of_runs=True)
    plot.add_argument("--kind", default="curves", choices=("curves", "heat_map", "pareto"), help="(default: curves)")
    _add_metrics(plot)
    plot.add_argument("--output", type=Path, required=True, metavar="FILE", help=".png, .svg or .pdf; must not exist")
    mlflow = _add_action(actions, "mlflow", _mlflow, "log the finished runs to MLflow", of_runs=True)
    mlflow.add_argument("--experiment", required=True, metavar="NAME", help="in MLflow; made where it is missing")
    mlflow.add_argument("--uri", default="", help="of the server or database (default: MLFLOW_TRACKING_URI)")
    submit = _add_action(actions, "submit", _submit, "write what trains the runs on a cluster, a job each")
    _add_job(submit)


def _add_action(actions: Any, name: str, function: Any, text: str, *, of_runs: bool = False) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text, description=text, allow_abbrev=False)
    named = "gin file of the study, or a pattern of run directories" if of_runs else "gin file of the study"
    parser.add_argument("study", metavar="STUDY", help=named)
    parser.set_defaults(run=function)
    return parser


def _add_metrics(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--metric",
        action="append",
        default=[],
        metavar="NAME",
        help="of metrics.jsonl, evaluations/NAME/GROUP/METRIC of a report, or summary/NAME; may be given several times "
        "(default: those of the study)",
    )
    parser.add_argument(
        "--different_data", action="store_true", help="also where runs do not measure a metric on the same data"
    )


def _add_job(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scheduler", required=True, choices=("slurm", "jobset"), help="a job array, or JobSets")
    parser.add_argument("--hardware", required=True, help="of each run: CHIP:SHAPE, as in m5jax plan")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="to write; must not exist")
    parser.add_argument("--name", default="study", help="of the jobs (default: %(default)s)")
    parser.add_argument("--time", default="1-00:00:00", help="limit of a run, of SLURM (default: %(default)s)")
    parser.add_argument(
        "--option", action="append", default=[], metavar="--NAME=VALUE", help="of sbatch; may be given several times"
    )
    parser.add_argument("--at_a_time", type=positive, default=0, metavar="N", help="runs, of SLURM (default: all)")
    parser.add_argument("--image", default="", help="of the container with m5jax in it, of Kubernetes")
    parser.add_argument("--volume", default="", metavar="CLAIM:PATH", help="that all share, of Kubernetes")
    parser.add_argument("--start", action="store_true", help="also start them, with sbatch or kubectl")


def _run(arguments: argparse.Namespace) -> int:
    import jax

    # The devices are for the runs.
    jax.config.update("jax_platforms", "cpu")
    from m5jax.studies.study_file import read_study_file
    from m5jax.training.interruption import EXIT_INTERRUPTED

    outcome = read_study_file(Path(arguments.study)).study.run(arguments.workers, only=arguments.only)
    print(outcome)
    if outcome.stopped:
        return EXIT_INTERRUPTED
    return 1 if outcome.failed else 0


def _status(arguments: argparse.Namespace) -> int:
    from m5jax.studies.study_file import read_study_file

    for number, run in enumerate(read_study_file(Path(arguments.study)).study.runs):
        print(f"{number:4} {run.state:12} {run.label}  {run.files.run_dir}")
    return 0


def _table(arguments: argparse.Namespace) -> int:
    from m5jax.studies.tables import table_text, write_table

    results, metrics = _read(arguments.study)
    metrics = arguments.metric or metrics
    print(table_text(results, metrics, same_metric=not arguments.different_data))
    if arguments.output:
        write_table(results, metrics, arguments.output, same_metric=not arguments.different_data)
    _print_left_out(results)
    return 0


def _print_left_out(results: Any) -> None:
    for directory, reason in results.left_out.items():
        print(f"left out: {directory}: {reason}")


def _plot(arguments: argparse.Namespace) -> int:
    from m5jax.studies.plots import write_figure

    results, metrics = _read(arguments.study)
    same = not arguments.different_data
    write_figure(results.plot(arguments.kind, *(arguments.metric or metrics), same_metric=same), arguments.output)
    print(f"{len(results.runs)} runs, {len(results.left_out)} left out; written to {arguments.output}")
    return 0


def _mlflow(arguments: argparse.Namespace) -> int:
    results, _ = _read(arguments.study)
    logged = results.to_mlflow(arguments.experiment, arguments.uri)
    print(f"{logged} runs logged to the experiment {arguments.experiment}; {len(results.runs) - logged} were there")
    _print_left_out(results)
    return 0


def _submit(arguments: argparse.Namespace) -> int:
    from m5jax.studies.study_file import read_study_file

    names = ("hardware", "name", "time", "at_a_time", "image", "volume", "start")
    options = {name: getattr(arguments, name) for name in names} | {"options": arguments.option}
    study = read_study_file(Path(arguments.study)).study
    said = study.submit(arguments.scheduler, arguments.output, **options)
    print(said if arguments.start else f"start them: {said}")
    return 0


def _read(study: str) -> tuple[Any, list[str]]:
    """Returns the results of a study, or of runs, and the metrics that its tables show."""
    from m5jax.studies.study import Study
    from m5jax.studies.study_file import METRICS, read_study_file

    if not study.endswith(".gin"):
        return Study.from_runs(study), list(METRICS)
    described = read_study_file(Path(study))
    return described.study.results, list(described.metrics)
