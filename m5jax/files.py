"""Files that are there whole or not at all."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from m5jax.errors import UserError


def check_new(path: Path, endings: Sequence[str]) -> None:
    """Raises UserError where a file to be written exists, or its name does not end in one of those allowed."""
    if path.suffix not in endings:
        raise UserError(f"--output={path}: allowed: names that end in {', '.join(endings)}")
    if path.exists():
        raise UserError(f"{path} exists; choose another --output")


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file, and the folders it is in, over one that is there; who reads it meanwhile finds either, whole.

    Raises:
        UserError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        os.replace(partial, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def write_json(path: Path, value: Any) -> None:
    """Writes a value as JSON, see `write_whole`."""
    write_whole(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")
