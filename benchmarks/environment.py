"""What a figure was measured on and with: the part of a benchmark's JSON that lets someone repeat it."""

import os
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

LIBRARIES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "torch",
    "transformers",
    "seqio",
    "tensorflow",
    "tensorflow-text",
    "sentencepiece",
)


def environment() -> dict[str, Any]:
    """Returns the command, the commit, the machine, the load on it, and the versions of the libraries there are."""
    return {
        "command": shlex.join([Path(sys.executable).name, *sys.orig_argv[1:]]),
        "commit": _commit(),
        "processor": _processor(),
        "cores": usable_cores(),
        "malloc": os.environ.get("GLIBC_TUNABLES", "default"),
        "load_average": round(os.getloadavg()[0], 1),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": _versions(),
    }


def usable_cores() -> int:
    """Returns the CPU cores this process may use."""
    return len(os.sched_getaffinity(0))


def _commit() -> str:
    """Returns the checked-out commit, marked where files differ from it; "unknown" outside a git checkout."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _versions() -> dict[str, str]:
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
