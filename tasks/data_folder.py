"""The folder that the environment variable M5JAX_DATA names, read when a task there is first used."""

import os
from pathlib import Path

from m5jax.errors import UserError


def data_folder() -> Path:
    """Returns the folder; raises UserError where the variable is not set."""
    directory = os.environ.get("M5JAX_DATA")
    if not directory:
        raise UserError("these tasks read the folder that the environment variable M5JAX_DATA names, and it is not set")
    return Path(directory)
