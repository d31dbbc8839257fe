"""Held-out rows beside the rows of a training run, so that a run can evaluate where there is no live pipeline.

    DIRECTORY/held_out.json     what the rows follow from, and each file with its label and size
    DIRECTORY/held_out-K.npz    of one label: each feature [rows, length], and `target_counts`

Labels are those of `evaluation_tasks`: of a language, or of a task.
"""

import dataclasses
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from m5jax.errors import UserError

FILE_NAME = "held_out.json"
_COUNTS = "target_counts"

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class HeldOutRows:
    """Packed held-out rows of one task, in order.

    Attributes:
        rows: each feature, [rows, length].
        target_counts: int64 [vocabulary]: how often each id is predicted in training data, for the unigram baseline.
    """

    rows: Batch
    target_counts: np.ndarray

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yields the batches of `evaluation_batches`."""
        return batches_of(self.rows, batch_size)


def batches_of(rows: Batch, batch_size: int) -> Iterator[Batch]:
    """Yields rows in batches, the last one filled up with rows of zeros."""
    for start in range(0, len(rows["inputs"]), batch_size):
        batch = {name: array[start : start + batch_size] for name, array in rows.items()}
        missing = batch_size - len(batch["inputs"])
        yield {name: np.pad(array, [(0, missing), (0, 0)]) for name, array in batch.items()}


def write_held_out(directory: Path, held_out: Mapping[str, HeldOutRows], definition: Mapping[str, Any]) -> None:
    """Writes the rows of each label into a directory; raises OSError where that fails."""
    files = {}
    for number, (label, own) in enumerate(held_out.items()):
        path = directory / f"held_out-{number}.npz"
        arrays: dict[str, Any] = {**own.rows, _COUNTS: own.target_counts}
        np.savez_compressed(path, **arrays)
        files[path.name] = {"label": label, "bytes": path.stat().st_size}
    text = json.dumps({"definition": definition, "files": files}, indent=2)
    (directory / FILE_NAME).write_text(text + "\n", encoding="utf-8")


def read_held_out(directory: Path, definition: Mapping[str, Any] | None = None) -> dict[str, HeldOutRows]:
    """Returns the rows of each label.

    Args:
        directory: that `m5jax data materialize` wrote.
        definition: what they have to follow from; None: anything.

    Raises:
        UserError: there are none, a file is missing or damaged, or they follow from something else.
    """
    try:
        described = json.loads((directory / FILE_NAME).read_text(encoding="utf-8"))
        made = dict(described["definition"])
        files = {name: (str(file["label"]), int(file["bytes"])) for name, file in described["files"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{directory} holds no held-out rows ({error}); write it again with m5jax data materialize"
        ) from error
    wanted = made if definition is None else json.loads(json.dumps(definition))
    for name in sorted(made.keys() | wanted.keys()):
        if made.get(name) != wanted.get(name):
            raise UserError(
                f"the held-out rows in {directory} were made with another definition: {name} was {made.get(name)}, "
                f"is {wanted.get(name)}"
            )
    return {label: _read(directory / name, size) for name, (label, size) in files.items()}


def _read(path: Path, size: int) -> HeldOutRows:
    found = path.stat().st_size if path.is_file() else None
    if found != size:
        state = "is missing" if found is None else f"has {found} bytes of {size}"
        raise UserError(f"{path} {state}; restore it from a copy or write the rows again")
    try:
        with np.load(path) as arrays:
            rows = {name: arrays[name] for name in arrays.files}
        return HeldOutRows(rows, rows.pop(_COUNTS))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} cannot be read ({error}); restore it from a copy or write the rows again") from error
