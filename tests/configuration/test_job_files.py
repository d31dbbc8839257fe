"""What starts a run on many hosts: SLURM's script and the one over ssh are run here, by stand-ins for both."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from m5jax.configuration.job_files import Job, hosts_script, jobset_manifest, slurm_script, tpu_vm_script
from m5jax.errors import UserError
from partitioning.slices import parse_slice

# A value that every shell on the way must leave alone.
COMMAND = ("m5jax", "train", "--gin_file=a b.gin", "--gin.RUN_DIR='/shared/$(x) $HOME'")
# Prints its arguments as a line of JSON, in one piece, and ends with the status that is asked for.
STAND_IN = f"""#!{sys.executable}
import json, os, sys
os.write(1, (json.dumps(sys.argv[1:]) + "\\n").encode())
sys.exit(int(os.environ.get("STATUS", 0)))
"""
SRUN = """#!/bin/bash
[ "$1" = --label ] && shift
for index in 0 1; do SLURM_PROCID=$index "$@" || status=$?; done
exit ${status:-0}
"""


def job(hardware: str, **changes: str) -> Job:
    settings = {"name": "run", "written_by": "m5jax launch ..."} | changes
    return Job(COMMAND, parse_slice(hardware), settings["name"], settings["written_by"])


def run_script(folder: Path, text: str, stand_ins: dict[str, str], **env: str) -> tuple[int, list[str]]:
    """Runs a script where the programs it calls are `stand_ins`; returns its status and the lines printed."""
    programs = folder / "bin"
    programs.mkdir()
    for name, program in stand_ins.items():
        (programs / name).write_text(program)
        (programs / name).chmod(0o755)
    (folder / "script").write_text(text)
    path = {"PATH": f"{programs}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "script"], cwd=folder, env={**os.environ, **path, **env}, capture_output=True, text=True, check=False
    )
    assert not done.stderr
    return done.returncode, done.stdout.splitlines()


def told(coordinator: str, count: int, index: int) -> list[str]:
    return [*COMMAND[1:], f"--coordinator={coordinator}", f"--processes={count}", f"--process={index}"]


@pytest.mark.parametrize(("status", "requeued"), [(0, False), (2, False), (75, True)])
def test_slurm_starts_a_process_a_node_and_again_what_was_stopped(tmp_path: Path, status: int, requeued: bool) -> None:
    text = slurm_script(job("h100:2x8"), "2-00:00:00", ["--partition=gpu"])
    scontrol = '#!/bin/bash\nif [ $1 = show ]; then printf "node-0\\nnode-1\\n"; else echo "$@"; fi\n'
    programs = {"m5jax": STAND_IN, "srun": SRUN, "scontrol": scontrol}
    env = {"SLURM_JOB_NODELIST": "node-[0-1]", "SLURM_NTASKS": "2", "SLURM_JOB_ID": "7", "STATUS": str(status)}
    ended, lines = run_script(tmp_path, text, programs, **env)
    assert ended == status
    assert [json.loads(line) for line in lines[:2]] == [told("node-0:12355", 2, index) for index in range(2)]
    assert lines[2:] == (["requeue 7"] if requeued else [])
    directives = [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH")]
    assert {"--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=8", "--time=2-00:00:00", "--partition=gpu"} <= set(
        directives
    )
    # sbatch reads options up to the first command.
    assert text.splitlines()[1 : 1 + len(directives)] == [f"#SBATCH {directive}" for directive in directives]


def test_plain_hosts_are_told_of_the_first_and_the_worst_status_is_the_scripts(tmp_path: Path) -> None:
    (tmp_path / "runs here").mkdir()
    text = hosts_script(job("a100-40gb:2x8"), ["10.0.0.1", "node-1"], "runs here")
    ssh = '#!/bin/bash\n[ $1 = node-1 ] && export STATUS=75\nexec bash -c "$2"\n'
    ended, lines = run_script(tmp_path, text, {"m5jax": STAND_IN, "ssh": ssh})
    assert ended == 75
    found = sorted((json.loads(line) for line in lines), key=lambda arguments: arguments[-1])
    assert found == [told("10.0.0.1:12355", 2, index) for index in range(2)]
    with pytest.raises(UserError, match="--hosts names 1 hosts; a100-40gb:2x8 has 2"):
        hosts_script(job("a100-40gb:2x8"), ["one"], ".")


@pytest.mark.parametrize(("hardware", "kind", "node"), [("v5e:4x4", "tpu-vm", ""), ("v5e:16x16*2", "queued", "all")])
def test_a_tpu_vm_runs_it_on_all_workers(tmp_path: Path, hardware: str, kind: str, node: str) -> None:
    (tmp_path / "here").mkdir()
    text = tpu_vm_script(job(hardware), "my-tpu", "europe-west4-b", "here")
    gcloud = '#!/bin/bash\necho "${@:1:$#-1}"\nlast="${!#}"\nexec bash -c "${last#--command=}"\n'
    ended, lines = run_script(tmp_path, text, {"m5jax": STAND_IN, "gcloud": gcloud})
    assert ended == 0
    assert lines[0].startswith(f"compute tpus {kind}")
    assert "my-tpu --zone=europe-west4-b" in lines[0]
    assert ("--node=all" in lines[0]) == (node == "all")
    assert lines[0].endswith("--worker=all")
    assert json.loads(lines[1]) == [*COMMAND[1:], "--distributed"]


def test_a_jobset_of_gpus_is_one_job_whose_pods_find_the_first() -> None:
    manifest = yaml.safe_load(jobset_manifest(job("h100:16x8"), "registry/m5jax:1", "runs:/shared"))
    (hosts,) = manifest["spec"]["replicatedJobs"]
    spec = hosts["template"]["spec"]
    assert (hosts["replicas"], spec["parallelism"], spec["completions"], spec["backoffLimit"]) == (1, 16, 16, 0)
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 8}
    # Kubernetes makes $(x) of $$(x) and a pod's number of $(JOB_COMPLETION_INDEX).
    arguments = [argument.replace("$$(", "$(") for argument in container["command"]]
    expected = told("run-hosts-0-0.run:12355", 16, 0)
    assert arguments == ["m5jax", *expected[:-1], "--process=$(JOB_COMPLETION_INDEX)"]
    assert {"name": "runs", "mountPath": "/shared"} in container["volumeMounts"]
    assert {"name": "runs", "persistentVolumeClaim": {"claimName": "runs"}} in pod["volumes"]


@pytest.mark.parametrize(
    ("hardware", "slices", "hosts", "accelerator", "topology"),
    [
        ("v5p:8x8x8", 1, 128, "tpu-v5p-slice", "8x8x8"),
        ("v5e:16x16*2", 2, 64, "tpu-v5-lite-podslice", "16x16"),
        ("v6e:2x2", 1, 1, "tpu-v6e-slice", "2x2"),
        ("v4:2x2x2", 1, 2, "tpu-v4-podslice", "2x2x2"),
    ],
)
def test_a_jobset_of_tpus_is_a_job_a_slice(
    hardware: str, slices: int, hosts: int, accelerator: str, topology: str
) -> None:
    manifest = yaml.safe_load(jobset_manifest(job(hardware), "image", "runs:/shared"))
    (replicated,) = manifest["spec"]["replicatedJobs"]
    spec = replicated["template"]["spec"]
    assert (replicated["replicas"], spec["parallelism"]) == (slices, hosts)
    assert manifest["metadata"]["annotations"]
    pod = spec["template"]["spec"]
    assert list(pod["nodeSelector"].values()) == [accelerator, topology]
    assert pod["containers"][0]["resources"]["limits"] == {"google.com/tpu": 4}
    assert pod["containers"][0]["command"][-1] == "--distributed"


def test_wrong_values() -> None:
    with pytest.raises(UserError, match="--name=My_run is no name of a job; allowed: small letters, digits and dashes"):
        job("h100:8", name="My_run")
    with pytest.raises(UserError, match="--volume=runs is not of the form CLAIM:/PATH"):
        jobset_manifest(job("h100:8"), "image", "runs")
