"""Several processes of one machine, each with simulated devices, as hosts of a cluster would be."""

import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[1]


class Finished(NamedTuple):
    status: int
    output: str
    errors: str


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return int(listener.getsockname()[1])


def run_together(commands: Sequence[Sequence[str]], devices: int) -> list[Finished]:
    """Runs the commands at once, each with so many devices; returns how each ended."""
    # Not optimized: what takes time here is to compile.
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen(command, env=env, cwd=REPOSITORY, stdout=pipe, stderr=pipe, text=True) for command in commands
    ]
    try:
        printed = [process.communicate(timeout=400) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [Finished(process.returncode, *texts) for process, texts in zip(processes, printed, strict=True)]
