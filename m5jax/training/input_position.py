"""The position of a run's input within its checkpoints, with digests that tell damage from another input."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any, Protocol

import jax
import orbax.checkpoint as ocp

from m5jax.errors import UserError, first_line

MANIFEST = "manifest.json"


class Position(Protocol):
    """Input whose position can be written into a directory, which exists and is empty, and read back.

    Attributes:
      of_all_processes: whether all processes have the same position, which any number of them can go on from.
    """

    of_all_processes: bool

    def save(self, directory: Path) -> None: ...

    def restore(self, directory: Path) -> None: ...


class PositionHandler(ocp.CheckpointHandler):
    """Writes each process's input position while the training thread waits, since the next batch would move it."""

    def save(self, directory: Any, args: "PositionArgs") -> None:
        save_position(Path(directory), args.position)

    def restore(self, directory: Any, args: "PositionArgs") -> None:
        restore_position(Path(directory), args.position)


@ocp.args.register_with_handler(PositionHandler, for_save=True, for_restore=True)
@dataclasses.dataclass
class PositionArgs(ocp.args.CheckpointArgs):
    """The input to save or to move."""

    position: Position


class Damaged(Exception):
    """A checkpoint is not as it was written."""


def save_position(directory: Path, position: Position) -> None:
    """Writes this process's position and the digests of its files, by which damage is told from another input."""
    own = directory / f"process_{jax.process_index()}"
    own.mkdir(parents=True)
    position.save(own)
    manifest = {"processes": jax.process_count(), "sha256": _digests(own)}
    (own / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def restore_position(directory: Path, position: Position) -> None:
    """Moves `position` to this process's saved one.

    Raises:
      Damaged: files are missing or changed.
      UserError: it was saved by another number of processes, or of another input.
    """
    try:
        processes = {json.loads(path.read_text())["processes"] for path in directory.glob(f"process_*/{MANIFEST}")}
        if not position.of_all_processes and processes and processes != {jax.process_count()}:
            raise UserError(
                f"{directory} was saved by {max(processes)} processes, there are {jax.process_count()} now; "
                "resume on as many"
            )
        own = directory / f"process_{0 if position.of_all_processes else jax.process_index()}"
        intact = json.loads((own / MANIFEST).read_text())["sha256"] == _digests(own)
    except (OSError, KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Damaged(f"the input position in {directory} cannot be read: {first_line(error)}") from error
    if not intact:
        raise Damaged(f"the input position in {own} is not as it was written")
    position.restore(own)


def _digests(directory: Path) -> dict[str, str]:
    files = sorted(path for path in directory.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
