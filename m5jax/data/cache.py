"""Where derived data is kept: one directory that may be deleted at any time."""

import os
from pathlib import Path


def cache_directory() -> Path:
    """Returns `$M5JAX_CACHE`, or `~/.cache/m5jax` where it is unset or empty. The directory need not exist yet."""
    return Path(os.environ.get("M5JAX_CACHE") or "~/.cache/m5jax").expanduser()
