"""`m5jax tune`: searches for the best values of parameters."""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from m5jax.configuration.command_line import describe_command
from m5jax.configuration.flags import parse_pairs, positive
from m5jax.errors import UserError, unknown_name

DESCRIPTION = """Searches for the best values of parameters: many runs of a command, each with other values (Optuna).

  m5jax tune --study=runs/tune --trials=20 --metric=evaluation/en/loss \\
    --range "Cosine.peak=1e-4..1e-2 log" --range "EncoderConfig.layers=2..6 int" --range "BATCH_SIZE=8|16|32" -- \\
    train --gin_file=gin_configs/experiments/quickstart.gin --gin.TrainerConfig.evaluate_every=50
  m5jax tune --study=runs/pairs --trials=30 --metric=evaluation/valid/f1 --direction=maximize \\
    --range "Cosine.peak=1e-5..1e-3 log" --range "FineTuning.epochs=1..8" -- \\
    finetune --from=runs/a --train=pairs.jsonl --valid=valid.jsonl --recipe=joint

After -- stands the command of a trial, without a run directory; each trial has one in STUDY/trials. A range is of a
name that gin files bind:

  NAME=LOW..HIGH       a number between the two, or one of them
  NAME=LOW..HIGH log   each order of magnitude is as likely as another; LOW above 0
  NAME=LOW..HIGH int   an integer; "int log" too
  NAME=A|B|C           one of these, each written as in gin: 16|32, 'gelu'|'silu'

Ranges and other settings can stand in a gin file, --tune_file=FILE, of Tuning.ranges = {'NAME': 'LOW..HIGH log'},
Tuning.trials = 20 and so on; flags win.

A trial's value is that of the checkpoint it keeps: the last of train, the best of finetune. The first ten trials are
drawn at random, later ones by tree-structured Parzen estimators. A trial whose best value so far is worse than the
median of complete trials at that step is stopped: that needs TrainerConfig.evaluate_every, or FineTuning's.

Run the same command again to go on where it was stopped, or with more --trials: with one worker, the trials are those
of a study that was never stopped. The same command on another host that shares STUDY adds workers to the study. On
GPUs, several workers share those that CUDA_VISIBLE_DEVICES names.

STUDY holds afterwards: best.gin (for --gin_file), report.html, history.svg, importance.svg, trials.csv, study.journal,
and a run directory a trial.

Exit status: 0 done; 2 something to mend; 75 stopped by SIGTERM or Ctrl-C (run it again).
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "tune",
        help="search for the best values of parameters",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--study", required=True, type=Path, metavar="DIR", help="of the study; made or gone on with")
    parser.add_argument("--tune_file", type=Path, metavar="FILE", help="gin file that binds Tuning.ranges and others")
    parser.add_argument(
        "--range", action="append", default=[], metavar="NAME=RANGE", help="as above; may be given several times"
    )
    parser.add_argument("--trials", type=int, metavar="N", help="in all, those of earlier calls among them")
    parser.add_argument("--workers", type=positive, default=1, metavar="N", help="trials at a time, here (default: 1)")
    parser.add_argument("--metric", metavar="NAME", help="a name of metrics.jsonl (default: evaluation/en/loss)")
    parser.add_argument("--direction", metavar="WORD", help="minimize (the default) or maximize")
    parser.add_argument("--seed", type=int, metavar="N", help="of the choice of values (default: 0)")
    parser.add_argument(
        "--startup_trials", type=int, metavar="N", help="complete trials before any is stopped early (default: 5)"
    )
    parser.add_argument(
        "--warmup_steps", type=int, metavar="N", help="training steps before a trial can be (default: 0)"
    )
    parser.add_argument(
        "--failures", type=int, metavar="N", help="so many failed trials in a row end the work (default: 3)"
    )
    parser.add_argument("trial", nargs="+", metavar="COMMAND ...", help="after --: the command of a trial")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    import jax

    # The devices are for the trials.
    jax.config.update("jax_platforms", "cpu")
    from m5jax.training.interruption import EXIT_INTERRUPTED
    from m5jax.tuning.study import work_on_study
    from m5jax.tuning.study_directory import JOURNAL
    from m5jax.tuning.tune_report import write_results

    work = make_work(arguments)
    try:
        finished = work_on_study(work, arguments.workers)
    except UserError:
        if (work.directory / JOURNAL).exists():
            print(write_results(work))
        raise
    print(write_results(work))
    if finished:
        return 0
    print("m5jax: stopped; run the same command to go on")
    return EXIT_INTERRUPTED


def make_work(arguments: argparse.Namespace) -> Any:
    """Returns the checked `Work` of a command line; nothing is written."""
    from m5jax.configuration.run_command import RunCommand
    from m5jax.tuning.ranges import check_ranges
    from m5jax.tuning.settings import Tuning, make_tuning
    from m5jax.tuning.worker import Work

    flags = {field.name: getattr(arguments, field.name, None) for field in dataclasses.fields(Tuning)}
    tuning = make_tuning(arguments.tune_file, {**flags, "ranges": _ranges(arguments.range)})
    command = RunCommand(tuple(arguments.trial))
    _check_words(command.words, tuning.ranges)

    def describe(values: Mapping[str, str]) -> dict[str, str]:
        flags = [f"--gin.{name}={value}" for name, value in values.items()]
        return dict(describe_command(command.line(flags, arguments.study / "trials" / "0000")))

    ranges = tuning.parsed
    check_ranges(ranges, describe)
    definition = {f"range of {each.name}": str(each).partition("=")[2] for each in ranges}
    for name in ("metric", "direction", "seed", "startup_trials", "warmup_steps"):
        definition[name] = str(getattr(tuning, name))
    definition |= {"command": command.words[0], **describe({each.name: each.examples[0] for each in ranges})}
    return Work(arguments.study, tuning, command, definition)


def _ranges(texts: Sequence[str]) -> dict[str, str]:
    ranges = parse_pairs(texts, "--range")
    if len(ranges) < len(texts):
        raise UserError("--range is given twice for one name; give each name once")
    return ranges


def _check_words(words: Sequence[str], ranges: Mapping[str, str]) -> None:
    """Raises UserError for an unknown command of a trial, or one that sets what a trial sets."""
    from m5jax.configuration.run_command import KINDS

    if words[0] not in KINDS:
        raise unknown_name("command of a trial, after --,", words[0], KINDS)
    for word in words[1:]:
        flag, _, _ = word.partition("=")
        if f"{flag}=" == KINDS[words[0]].run_dir_flag:
            raise UserError(f"{flag} after -- is for m5jax tune to give: each trial has its own directory")
        name = flag.removeprefix("--gin.")
        if name != flag and name in ranges:
            raise UserError(f"{flag} after -- sets what --range {name} is to choose; leave one away")
