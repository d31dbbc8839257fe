"""One model on many meshes: the loss of each step is that of one device, with dropout and without."""

import functools
import json
import sys
from typing import Any

import jax
import numpy as np
import pytest

from m5jax.models import DecoderConfig, EncoderConfig, EncoderDecoderConfig, FunctionalModel
from m5jax.objectives import LanguageModel, SequenceToSequence
from m5jax.training.metrics import means
from m5jax.training.optimizers import AdamW
from m5jax.training.schedules import InverseSquareRoot
from m5jax.training.state import abstract_state, init_state
from m5jax.training.step import jit_train_step, make_train_step
from partitioning import MeshConfig, global_batch, make_mesh
from tests.processes import run_together

STEPS, BATCH, LENGTH, BUDGET, VOCAB = 20, 16, 16, 4, 64
SHAPE = {"vocab_size": VOCAB, "width": 32, "heads": 8, "mlp_hidden": 64}
CONFIGS = {
    "encoder": EncoderConfig(layers=4, max_length=LENGTH, **SHAPE),
    "encoder_decoder": EncoderDecoderConfig(encoder_layers=4, decoder_layers=4, **SHAPE),
    "decoder": DecoderConfig(layers=4, max_length=LENGTH, **SHAPE),
}
OBJECTIVES = {
    "encoder": LanguageModel(),
    "encoder_decoder": SequenceToSequence(chunk_length=8),
    "decoder": LanguageModel(),
}
MESHES = {
    "fsdp 8": MeshConfig(1, 8, 1),
    "tensor 8": MeshConfig(1, 1, 8),
    "sequence 4 x data 2": MeshConfig(2, 1, 1, sequence=4),
    "pipeline 4 x fsdp 2": MeshConfig(1, 2, 1, pipeline=4),
}
MIXED = MeshConfig(1, 2, 2, sequence=2, pipeline=2)  # with each part of a batch passing the stages twice
WITHOUT_STAGES = MeshConfig(2, 2, 2, sequence=2)  # on which XLA multiplied with kernels that were still split


def host_batch(kind: str, index: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(index)
    places = np.arange(LENGTH)
    tokens = (random.integers(0, 4, (BATCH, 1)) + 3 * places) % (VOCAB - 4) + 4
    lengths = random.integers(LENGTH // 2, LENGTH + 1, BATCH)
    segment_ids = np.where(places >= LENGTH // 3, 2, 1) * (places < lengths[:, None])
    positions = np.where(places >= LENGTH // 3, places - LENGTH // 3, places) * (segment_ids > 0)
    batch = {"inputs": tokens, "segment_ids": segment_ids, "positions": positions}
    if kind != "encoder_decoder":
        chosen = np.sort(random.permuted(np.tile(np.arange(LENGTH // 2), (BATCH, 1)), axis=1)[:, :BUDGET], axis=1)
        batch |= {"predicted_positions": chosen, "targets": np.take_along_axis(tokens, chosen, axis=1)}
    else:
        batch |= {"targets": tokens[:, ::-1], "target_segment_ids": segment_ids, "target_positions": positions}
    batch = {name: array.astype(np.int32) for name, array in batch.items()}
    return batch | {"loss_weights": (random.random(batch["targets"].shape) < 0.8).astype(np.float32)}


@functools.cache
def losses(kind: str, mesh_config: MeshConfig, dropout_rate: float, rounds: int = 1) -> np.ndarray:
    """Returns the losses of training on a mesh of the first devices."""
    size = int(np.prod(list(mesh_config.sizes.values())))
    mesh = make_mesh(mesh_config, jax.devices()[:size])
    settings = {**vars(CONFIGS[kind]), "dropout_rate": dropout_rate, "pipeline_rounds": rounds}
    model = FunctionalModel.from_config(type(CONFIGS[kind])(**settings))
    transformation = AdamW(InverseSquareRoot(peak=3e-3, warmup_steps=5)).make(model.logical_axes, 1.0)
    abstract = abstract_state(model, transformation, mesh)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    step = jit_train_step(make_train_step(model, OBJECTIVES[kind], transformation), shardings, mesh)
    # Drawn on one device, so that all meshes begin with the same.
    state: Any = jax.device_put(init_state(model, transformation, jax.random.key(0)), shardings)
    found = []
    with jax.set_mesh(mesh):
        for index in range(STEPS):
            state, metrics = step(state, global_batch(mesh, host_batch(kind, index)))
            found.append(means(metrics)["loss"])
    return np.array(found)


@pytest.mark.parametrize("name", MESHES)
def test_a_mesh_trains_as_one_device(name: str) -> None:
    alone = losses("encoder_decoder", MeshConfig(1, 1, 1), 0.0)
    assert alone[-1] < alone[0] - 0.1  # else equality would say little
    np.testing.assert_allclose(losses("encoder_decoder", MESHES[name], 0.0), alone, atol=1e-4)


def test_all_axes_at_once_train_as_one_device() -> None:
    program = (
        "import json; from tests.training.test_layouts import *\n"
        "found = [[kind, losses(kind, MIXED, 0.1, 2).tolist()] for kind in CONFIGS]\n"
        "found.append(['encoder', losses('encoder', WITHOUT_STAGES, 0.1).tolist()])\n"
        "print(json.dumps(found))"
    )
    (done,) = run_together([[sys.executable, "-c", program]], devices=16)
    assert done.status == 0, done.errors[-3000:]
    for kind, found in json.loads(done.output.splitlines()[-1]):
        np.testing.assert_allclose(found, losses(kind, MeshConfig(1, 1, 1), 0.1), atol=1e-4, err_msg=kind)
