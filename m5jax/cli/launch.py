"""`m5jax launch`: writes what starts a run on many hosts."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from m5jax.errors import UserError

DESCRIPTION = """Writes the file that starts a training run on many hosts, a process a host. Nothing is started.

  m5jax launch slurm --hardware=h100:16x8 --output=run.sbatch --time=2-00:00:00 --option=--partition=gpu -- \\
    train --gin_file=gin_configs/experiments/masked_lm.gin --gin.RUN_DIR="'/shared/runs/a'"
  m5jax launch jobset --hardware=v5p:8x8x8 --output=run.yaml --image=IMAGE --volume=CLAIM:/shared -- train ...
  m5jax launch tpu-vm --hardware=v5e:8x8 --output=run.sh --tpu=NAME --zone=ZONE -- train ...
  m5jax launch hosts  --hardware=h100:2x8 --output=run.sh --hosts=node-0,node-1 -- train ...

After -- stands the command of one machine. Its gin files are read, and its mesh and batch compared with the hardware
(CHIP:SHAPE, as in m5jax plan), before the file is written; so is the memory that a device is predicted to need.
A run stopped by the scheduler saves a checkpoint; SLURM and Kubernetes start it again, and it goes on from there.
RUN_DIR, the gin files and the data must be on storage that all hosts share.
"""


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "launch",
        help="write what starts a run on many hosts",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    kinds = parser.add_subparsers(dest="scheduler", required=True, metavar="SCHEDULER")
    slurm = _add_kind(kinds, "slurm", "a batch script of SLURM")
    slurm.add_argument("--time", default="1-00:00:00", help="limit of the job (default: %(default)s)")
    slurm.add_argument(
        "--option", action="append", default=[], metavar="--NAME=VALUE", help="of sbatch; may be given several times"
    )
    jobset = _add_kind(kinds, "jobset", "a JobSet of Kubernetes (GKE), of GPUs or TPUs")
    jobset.add_argument("--image", required=True, help="of the container, with m5jax in it")
    jobset.add_argument("--volume", required=True, metavar="CLAIM:PATH", help="a claim all share, and where it is")
    tpu_vm = _add_kind(kinds, "tpu-vm", "a script that starts all hosts of a TPU VM")
    tpu_vm.add_argument("--tpu", required=True, metavar="NAME", help="of the TPU VM, or of a queued resource")
    tpu_vm.add_argument("--zone", required=True, help="where it is")
    hosts = _add_kind(kinds, "hosts", "a script that starts plain hosts over ssh")
    hosts.add_argument("--hosts", required=True, metavar="HOST,HOST", help="names, by which all reach the first")
    for kind in (tpu_vm, hosts):
        kind.add_argument("--directory", default=".", help="on each host, to run in (default: where ssh begins)")


def _add_kind(kinds: Any, name: str, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = kinds.add_parser(name, help=text, description=text, allow_abbrev=False)
    parser.add_argument("--hardware", required=True, help="CHIP:SHAPE, as in m5jax plan")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="to write; must not exist")
    parser.add_argument("--name", default="m5jax", help="of the job (default: %(default)s)")
    parser.add_argument("train", nargs="+", metavar="train ...", help="after --: the command of one machine")
    parser.set_defaults(run=run)
    return parser


def run(arguments: argparse.Namespace) -> int:
    import jax

    # As for a plan, none of this machine's devices is needed.
    jax.config.update("jax_platforms", "cpu")
    from m5jax.configuration.command_line import read_command
    from m5jax.configuration.hardware_checks import check_fits
    from m5jax.configuration.job_files import Job
    from partitioning.slices import parse_slice

    slice_ = parse_slice(arguments.hardware)
    if arguments.output.exists():
        raise UserError(f"{arguments.output} exists; choose another --output")
    predicted = check_fits(read_command(arguments.train, ["train"]), slice_)
    command = ("m5jax", *arguments.train)
    job = Job(command, slice_, arguments.name, shlex.join(["m5jax", *sys.argv[1:]]).replace("\n", " "))
    text = _file_text(arguments, job)
    try:
        arguments.output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {arguments.output}: {error.strerror or error}") from error
    start = {"slurm": "sbatch", "jobset": "kubectl apply -f"}.get(arguments.scheduler, "bash")
    print(f"{job.hosts} processes of {job.devices_a_host} devices; {predicted}")
    print(f"start them: {start} {shlex.quote(str(arguments.output))}")
    return 0


def _file_text(arguments: argparse.Namespace, job: Any) -> str:
    from m5jax.configuration import job_files

    scheduler, torus = arguments.scheduler, job.slice_.chip.torus
    if torus and scheduler in ("slurm", "hosts"):
        raise UserError(f"m5jax launch {scheduler} is for GPUs; allowed for {job.slice_.name}: jobset, tpu-vm")
    if not torus and scheduler == "tpu-vm":
        raise UserError(f"m5jax launch tpu-vm is for TPUs; allowed for {job.slice_.name}: slurm, jobset, hosts")
    if scheduler == "slurm":
        return job_files.slurm_script(job, arguments.time, arguments.option)
    if scheduler == "jobset":
        return job_files.jobset_manifest(job, arguments.image, arguments.volume)
    if scheduler == "tpu-vm":
        return job_files.tpu_vm_script(job, arguments.tpu, arguments.zone, arguments.directory)
    return job_files.hosts_script(job, arguments.hosts.split(","), arguments.directory)
