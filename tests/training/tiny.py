"""A model and an input small enough to train within a test."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from m5jax.models import EncoderConfig, FunctionalModel
from m5jax.objectives import LanguageModel
from m5jax.training.loop import TrainerConfig, Training
from m5jax.training.optimizers import AdamW, Optimizer
from m5jax.training.schedules import InverseSquareRoot
from m5jax.training.state import TrainState, abstract_state, init_state
from partitioning import MeshConfig, make_mesh

VOCAB, LENGTH, BUDGET, BATCH_SIZE = 48, 12, 4, 8
OPTIMIZER = AdamW(InverseSquareRoot(peak=3e-3, warmup_steps=5))


def encoder(**changes: Any) -> FunctionalModel:
    settings = {"vocab_size": VOCAB, "width": 16, "layers": 2, "heads": 2, "mlp_hidden": 32, "max_length": LENGTH}
    return FunctionalModel.from_config(EncoderConfig(**(settings | changes)))


def one_device() -> Mesh:
    return make_mesh(MeshConfig(1, 1, 1), jax.devices()[:1])


def eight_devices() -> Mesh:
    return make_mesh(MeshConfig(2, 2, 2))


def host_batch(index: int) -> dict[str, np.ndarray]:
    """Two packed segments a row, some padding, and a number of predicted tokens that differs between rows."""
    random = np.random.default_rng(index)
    lengths = random.integers(LENGTH // 2, LENGTH + 1, BATCH_SIZE)
    places = np.arange(LENGTH)
    real = places < lengths[:, None]
    second = places >= LENGTH // 3
    # Every token follows from the one before, so that there is something to learn.
    tokens = (random.integers(0, 4, (BATCH_SIZE, 1)) + 3 * places) % (VOCAB - 4) + 4
    masked = np.sort(random.permuted(np.tile(np.arange(LENGTH // 2), (BATCH_SIZE, 1)), axis=1)[:, :BUDGET], axis=1)
    weights = (np.arange(BUDGET) < random.integers(1, BUDGET + 1, (BATCH_SIZE, 1))).astype(np.float32)
    inputs = tokens * real
    np.put_along_axis(inputs, masked, 3, axis=1)
    return {
        "inputs": inputs.astype(np.int32),
        "segment_ids": (np.where(second, 2, 1) * real).astype(np.int32),
        "positions": (np.where(second, places - LENGTH // 3, places) * real).astype(np.int32),
        "predicted_positions": masked.astype(np.int32),
        "targets": (np.take_along_axis(tokens, masked, axis=1) * (weights > 0)).astype(np.int32),
        "loss_weights": weights,
    }


class TinyBatches:
    """Endless batches by index. `before` is called with the index of each batch before it is handed out."""

    of_all_processes = False
    fingerprint = "tiny"

    def __init__(self, before: Callable[[int], None] | None = None, make: Callable[[int], Any] = host_batch):
        self.index = 0
        self._before = before
        self._make = make

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        self.index += 1
        if self._before is not None:
            self._before(self.index)
        return self._make(self.index)

    def save(self, directory: Path) -> None:
        (directory / "index.json").write_text(json.dumps(self.index))

    def restore(self, directory: Path) -> None:
        self.index = json.loads((directory / "index.json").read_text())


def tiny_state(model: FunctionalModel, mesh: Mesh, optimizer: Optimizer = OPTIMIZER) -> tuple[TrainState, TrainState]:
    """Returns (abstract state, state) on `mesh`."""
    transformation = optimizer.make(model.logical_axes, model.width_multiple)
    abstract = abstract_state(model, transformation, mesh)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    init = jax.jit(lambda key: init_state(model, transformation, key), out_shardings=shardings)
    return abstract, init(jax.random.key(0))


def training(run_dir: Path, steps: int, **changes: Any) -> Training:
    """Returns a run; `changes` are of Training, or of its TrainerConfig."""
    config = {name: changes.pop(name) for name in list(changes) if name in TrainerConfig.__dataclass_fields__}
    settings = {
        "run_dir": run_dir,
        "model": encoder(dropout_rate=0.1),
        "objective": LanguageModel(z_loss=1e-4),
        "optimizer": OPTIMIZER,
        "mesh": one_device(),
        "config": TrainerConfig(**({"steps": steps, "log_every": 1, "checkpoint_every": 10} | config)),
        "batches": TinyBatches(),
        "batch_size": BATCH_SIZE,
        "evaluate": lambda parameters: {"evaluation/en/loss": float(abs(parameters["embedding"]).sum())},
        "flops_per_token": 1.0,
    }
    return Training(**(settings | changes))


def assert_same(left: Any, right: Any) -> None:
    """Asserts that two trees are equal to the bit."""
    left, right = jax.device_get((left, right))
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for (path, a), b in zip(jax.tree_util.tree_flatten_with_path(left)[0], jax.tree.leaves(right), strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_array_equal(a, b, err_msg=jax.tree_util.keystr(path))
