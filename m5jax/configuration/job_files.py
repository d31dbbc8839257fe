"""Files that start one run on many hosts: a process a host, each told where the first one is.

A run that was stopped with a checkpoint ends with status 75 (`EXIT_INTERRUPTED`); schedulers that can start it again.
"""

import dataclasses
import re
import shlex
from collections.abc import Sequence
from typing import Any

import yaml

from m5jax.errors import UserError
from m5jax.training.interruption import EXIT_INTERRUPTED
from partitioning.slices import Slice

PORT = 12355
TPU_HOST = 4  # chips of a TPU host, in slices of several hosts
# Values of GKE's node label cloud.google.com/gke-tpu-accelerator (its documentation, TPUs in GKE).
GKE_ACCELERATORS = {
    "v4": "tpu-v4-podslice",
    "v5e": "tpu-v5-lite-podslice",
    "v5p": "tpu-v5p-slice",
    "v6e": "tpu-v6e-slice",
}
_SECONDS_TO_SAVE = 300  # between the notice that a job ends and its end
_RESTARTS = 100
_Manifest = dict[str, Any]  # as YAML holds it
_SHARED_MEMORY = {"name": "shared-memory", "emptyDir": {"medium": "Memory"}}


@dataclasses.dataclass(frozen=True)
class Job:
    """A command on all hosts of a slice.

    Attributes:
      command: `m5jax` and its arguments, without those that tell processes of each other.
      slice_: the devices.
      name: of the job; letters, digits and dashes.
      written_by: the command line that the file came from.
    """

    command: tuple[str, ...]
    slice_: Slice
    name: str
    written_by: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", self.name):
            raise UserError(f"--name={self.name} is no name of a job; allowed: small letters, digits and dashes")

    @property
    def devices_a_host(self) -> int:
        chip = self.slice_.chip
        return min(TPU_HOST, self.slice_.size) if chip.torus else self.slice_.shape[1]

    @property
    def hosts(self) -> int:
        """Hosts, and processes, of all slices."""
        return self.slice_.size // self.devices_a_host

    @property
    def header(self) -> str:
        machines = f"{self.slice_.name}: {self.hosts} hosts of {self.devices_a_host} devices"
        return f"# {machines}. Written by:\n#   {self.written_by}\n"


def slurm_script(job: Job, time: str, options: Sequence[str] = ()) -> str:
    """Returns a batch script for `sbatch`.

    Args:
      job: of GPUs.
      time: limit, as SLURM reads it.
      options: further `#SBATCH` options, such as `--partition=gpu`.
    """
    command = shlex.quote(_told_by_slurm(job))
    return _slurm_text(job, time, options, "%x-%j.log", "", command, '"$SLURM_JOB_ID"')


def slurm_array(jobs: Sequence[Job], time: str, options: Sequence[str] = (), at_a_time: int = 0) -> str:
    """Returns a batch script for `sbatch` of an array, of which each task is one of the jobs.

    Args:
      jobs: of the same GPUs and of one name.
      time, options: of each; see `slurm_script`.
      at_a_time: tasks; 0: as many as SLURM sees fit.
    """
    limit = f"%{at_a_time}" if at_a_time else ""
    options = (f"--array=0-{len(jobs) - 1}{limit}", *options)
    cases = "".join(f"  {task}) command={shlex.quote(_told_by_slurm(job))} ;;\n" for task, job in enumerate(jobs))
    chosen = f'case "$SLURM_ARRAY_TASK_ID" in\n{cases}esac\n'
    task = '"${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"'
    return _slurm_text(jobs[0], time, options, "%x-%A_%a.log", chosen, '"$command"', task)


def _told_by_slurm(job: Job) -> str:
    return f"exec {_told(job.command, '$COORDINATOR', '$SLURM_NTASKS', '$SLURM_PROCID')}"


def _slurm_text(job: Job, time: str, options: Sequence[str], log: str, before: str, command: str, task: str) -> str:
    directives = [
        f"--job-name={job.name}",
        f"--nodes={job.hosts}",
        "--ntasks-per-node=1",
        f"--gpus-per-node={job.devices_a_host}",
        "--exclusive",
        f"--time={time}",
        f"--signal=TERM@{_SECONDS_TO_SAVE}",
        "--requeue",
        "--open-mode=append",
        f"--output={log}",
        *options,
    ]
    return f"""#!/bin/bash
{"".join(f"#SBATCH {directive}{chr(10)}" for directive in directives)}{job.header}
{before}export COORDINATOR="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1):{PORT}"
srun --label bash -c {command}
status=$?
# Stopped with a checkpoint saved: the same job goes on from it.
[ $status -ne {EXIT_INTERRUPTED} ] || scontrol requeue {task}
exit $status
"""


def jobset_manifest(job: Job, image: str, volume: str) -> str:
    """Returns a JobSet for `kubectl apply` (jobset.x-k8s.io/v1alpha2), of a Job for each TPU slice or all GPU nodes.

    Args:
      job: of GPUs or TPUs.
      image: of the container, in which `m5jax` is installed.
      volume: `CLAIM:PATH`, a persistent volume claim that all hosts share and where it is mounted.

    Raises:
      UserError: `volume` is not of that form.
    """
    claim, _, path = volume.partition(":")
    if not claim or not path.startswith("/"):
        raise UserError(f"--volume={volume} is not of the form CLAIM:/PATH")
    manifest = _jobset(job, _pod(job, _container(job, image, path), claim))
    return f"# Start it: kubectl apply -f FILE\n{job.header}{yaml.safe_dump(manifest, sort_keys=False, width=1000)}"


def _container(job: Job, image: str, path: str) -> _Manifest:
    resource = "google.com/tpu" if job.slice_.chip.torus else "nvidia.com/gpu"
    return {
        "name": "m5jax",
        "image": image,
        "command": _told_by_kubernetes(job),
        "ports": [{"containerPort": PORT}],
        "resources": {"limits": {resource: job.devices_a_host}},
        "volumeMounts": [{"name": "runs", "mountPath": path}, {"name": "shared-memory", "mountPath": "/dev/shm"}],
    }


def _told_by_kubernetes(job: Job) -> list[str]:
    """Returns the command in a form in which Kubernetes fills in the number of the host."""
    if job.slice_.chip.torus:
        told, last = [*job.command, "--distributed"], []
    else:
        first = f"{job.name}-hosts-0-0.{job.name}"
        told = [*job.command, f"--coordinator={first}:{PORT}", f"--processes={job.hosts}"]
        last = ["--process=$(JOB_COMPLETION_INDEX)"]
    # Kubernetes would read $(NAME) as a variable.
    return [argument.replace("$(", "$$(") for argument in told] + last


def _pod(job: Job, container: _Manifest, claim: str) -> _Manifest:
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": _SECONDS_TO_SAVE,
        "nodeSelector": _placed(job),
        "containers": [container],
        "volumes": [{"name": "runs", "persistentVolumeClaim": {"claimName": claim}}, _SHARED_MEMORY],
    }


def _placed(job: Job) -> _Manifest:
    if not job.slice_.chip.torus:
        return {}
    return {
        "cloud.google.com/gke-tpu-accelerator": GKE_ACCELERATORS[job.slice_.chip.name],
        "cloud.google.com/gke-tpu-topology": "x".join(map(str, job.slice_.shape)),
    }


def _jobset(job: Job, pod: _Manifest) -> _Manifest:
    # The hosts of a TPU slice are those of one node pool.
    together = {"alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"}
    slices = job.slice_.count
    hosts = {
        "parallelism": job.hosts // slices,
        "completions": job.hosts // slices,
        "backoffLimit": 0,
        # What is to be mended would fail again.
        "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [2]}}]},
        "template": {"spec": pod},
    }
    failures = {
        "maxRestarts": _RESTARTS,
        "rules": [{"action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}],
    }
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {"name": job.name, "annotations": together if job.slice_.chip.torus else {}},
        "spec": {
            "failurePolicy": failures,
            "replicatedJobs": [{"name": "hosts", "replicas": slices, "template": {"spec": hosts}}],
        },
    }


def tpu_vm_script(job: Job, tpu: str, zone: str, directory: str) -> str:
    """Returns a shell script that runs the command on all hosts of a TPU VM, or of a queued resource of several slices.

    Args:
      job: of TPUs.
      tpu: name of the TPU VM, or of the queued resource.
      zone: where it is.
      directory: on each host, from which the command runs.
    """
    command = f"cd {shlex.quote(directory)} && exec {shlex.join([*job.command, '--distributed'])}"
    kind = "tpu-vm ssh" if job.slice_.count == 1 else "queued-resources ssh"
    nodes = "" if job.slice_.count == 1 else " --node=all"
    target = f"gcloud compute tpus {kind} {shlex.quote(tpu)} --zone={shlex.quote(zone)}{nodes} --worker=all"
    return f"#!/bin/bash\n{job.header}{target} --command={shlex.quote(command)}\n"


def hosts_script(job: Job, hosts: Sequence[str], directory: str) -> str:
    """Returns a shell script that runs the command over ssh on named hosts, and ends with the worst status.

    Args:
      job: of GPUs.
      hosts: names, the coordinator's first, as all of them reach it.
      directory: on each host, from which the command runs.

    Raises:
      UserError: another number of hosts than the job needs.
    """
    if len(hosts) != job.hosts:
        raise UserError(f"--hosts names {len(hosts)} hosts; {job.slice_.name} has {job.hosts}")
    lines = []
    for index, host in enumerate(hosts):
        told = _told(job.command, f"{hosts[0]}:{PORT}", str(job.hosts), str(index))
        remote = f"cd {shlex.quote(directory)} && exec {told}"
        lines.append(f"ssh {shlex.quote(host)} {shlex.quote(remote)} &\n")
    return f"""#!/bin/bash
{job.header}processes=()
{"".join(f"{line}processes+=($!){chr(10)}" for line in lines)}status=0
for process in "${{processes[@]}}"; do
  wait "$process" || {{ ended=$?; [ $ended -le $status ] || status=$ended; }}
done
exit $status
"""


def _told(command: Sequence[str], coordinator: str, count: str, index: str) -> str:
    """Returns a shell command whose process knows of the others; the last three are the shell's to expand."""
    return f"{shlex.join(command)} --coordinator={coordinator} --processes={count} --process={index}"
