"""One of several processes of a test: `python -m tests.training.one_process WHAT PORT COUNT INDEX ...`

train RUN_DIR STEPS MESH: trains the tiny model; MESH is devices along the mesh axes, JSON.
disagree: prints what the checks at the start of a run say where hosts differ.
"""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from m5jax.errors import UserError
from m5jax.training.processes import check_alike, exchange, failing_together, join_processes


def main() -> None:
    what, port, count, index, *others = sys.argv[1:]
    if int(count) > 1:
        join_processes(f"localhost:{port}", int(count), int(index))
    if what == "train":
        train_tiny(Path(others[0]), int(others[1]), json.loads(others[2]))
    else:
        disagree(int(index))


def train_tiny(run_dir: Path, steps: int, sizes: dict[str, int]) -> None:
    from m5jax.training.loop import train
    from partitioning import MeshConfig, batch_share, make_mesh
    from tests.training.tiny import BATCH_SIZE, TinyBatches, host_batch, training

    mesh = make_mesh(MeshConfig(**sizes))
    share = batch_share(mesh)
    rows = BATCH_SIZE // share.count

    def own_rows(index: int) -> dict[str, np.ndarray]:
        return {name: array[share.index * rows : (share.index + 1) * rows] for name, array in host_batch(index).items()}

    batches = TinyBatches(make=own_rows)
    batches.of_all_processes = True
    train(training(run_dir, steps, mesh=mesh, batches=batches))


def disagree(index: int) -> None:
    import jax

    lines: list[Any] = [exchange({"index": index})]
    with said(lines):
        check_alike({"devices": "8 x GPU", "configuration": "ab" if index else "cd"})
    with said(lines), failing_together():
        if index == 1:
            raise UserError("no file here")
    with said(lines), failing_together():
        pass
    assert jax.process_count() == len(lines[0])
    print(json.dumps(lines))


@contextlib.contextmanager
def said(lines: list[Any]) -> Iterator[None]:
    try:
        yield
        lines.append("")
    except UserError as error:
        lines.append(str(error))


if __name__ == "__main__":
    main()
