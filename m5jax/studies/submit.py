"""Files that make the runs of a study on a cluster, a job each, as `m5jax launch` makes one."""

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from m5jax.configuration.command_line import read_command
from m5jax.configuration.hardware_checks import check_fits
from m5jax.configuration.job_files import Job, jobset_manifest, slurm_array
from m5jax.configuration.run_process import make_folders
from m5jax.errors import UserError, first_line, unknown_name
from m5jax.files import write_whole
from m5jax.studies.planned_runs import RUNS, PlannedRun
from partitioning.slices import parse_slice

SCHEDULERS = ("slurm", "jobset")
_STARTED_BY = {"slurm": ("sbatch",), "jobset": ("kubectl", "apply", "-f")}


def write_jobs(
    runs: Sequence[PlannedRun],
    scheduler: str,
    output: Path,
    *,
    hardware: str,
    name: str = "study",
    time: str = "1-00:00:00",
    options: Sequence[str] = (),
    at_a_time: int = 0,
    image: str = "",
    volume: str = "",
) -> str:
    """Writes a SLURM array, or a JobSet each, of the runs that are not trained, and returns the command that starts it.

    Evaluations are made afterwards, on one machine, by `m5jax study run`.

    Args:
      runs: of the study, whose directory, gin files and data all hosts share.
      scheduler: "slurm" or "jobset".
      output: must not exist.
      hardware: CHIP:SHAPE, as in `m5jax plan`, of each run.
      name: of the jobs.
      time, options, at_a_time: of SLURM; see `slurm_array`.
      image, volume: of Kubernetes; see `jobset_manifest`.

    Raises:
      UserError: a name or value is not allowed, a run does not fit the hardware, or the file is there or cannot be
        written.
    """
    if scheduler not in SCHEDULERS:
        raise unknown_name("scheduler of a study", scheduler, SCHEDULERS)
    if output.exists():
        raise UserError(f"{output} exists; choose another output")
    _check_options(scheduler, {"options": options, "at_a_time": at_a_time}, {"image": image, "volume": volume})
    left = [run for run in runs if run.state in ("to do", "begun")]
    if not left:
        raise UserError("all runs of the study are trained; there is nothing to submit")
    slice_ = parse_slice(hardware)
    if slice_.chip.torus and scheduler == "slurm":
        raise UserError(f"SLURM is for GPUs; allowed for {slice_.name}: jobset")
    jobs = []
    for run in left:
        words = run.train_words()
        if words[0] == "train":
            check_fits(read_command(words, ["train"]), slice_)
        own = name if scheduler == "slurm" else f"{name}-{run.digest}"
        jobs.append(Job(("m5jax", *words), slice_, own, f"m5jax study submit, {len(left)} runs"))
    if scheduler == "slurm":
        text = slurm_array(jobs, time, options, at_a_time)
    else:
        text = "---\n".join(jobset_manifest(job, image, volume) for job in jobs)
    make_folders(left[0].files.directory, RUNS)
    write_whole(output, text)
    return shlex.join([*_STARTED_BY[scheduler], str(output)])


def _check_options(scheduler: str, slurm: Mapping[str, object], jobset: Mapping[str, object]) -> None:
    """Raises UserError where an option is of the other scheduler, or one is missing."""
    if scheduler == "jobset" and (missing := [name for name, value in jobset.items() if not value]):
        raise UserError(f"a JobSet needs --{missing[0]}")
    for name, value in (jobset if scheduler == "slurm" else slurm).items():
        if value:
            raise UserError(f"{name} is not of {scheduler}; leave it out")


def start_jobs(command: str) -> str:
    """Runs a command that `write_jobs` returned, and returns what it says; raises UserError where it fails."""
    try:
        done = subprocess.run(shlex.split(command), capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or first_line(error)
        raise UserError(f"{command} failed: {said.strip().splitlines()[-1] if said.strip() else error}") from error
    return done.stdout.strip()
