"""Several processes of one machine, each with simulated devices, as hosts of a cluster would be."""

import os
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.xla_flags import xla_flags

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
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": xla_flags(devices)}
    with tempfile.TemporaryDirectory() as folder:
        # Into files: a pipe that is read later would stop a process that fills it, and all that wait for that.
        printed = [[(Path(folder) / f"{name}_{index}").open("w+") for name in "oe"] for index in range(len(commands))]
        processes = [
            subprocess.Popen(command, env=env, cwd=REPOSITORY, stdout=output, stderr=errors)
            for command, (output, errors) in zip(commands, printed, strict=True)
        ]
        try:
            for process in processes:
                process.wait(timeout=400)
        finally:
            for process in processes:
                process.kill()
                process.wait()
            texts = [[Path(file.name).read_text() for file in files] for files in printed]
            for file in [file for files in printed for file in files]:
                file.close()
    return [Finished(process.returncode, *own) for process, own in zip(processes, texts, strict=True)]
