"""A model of a gin file as the planner sees it, and its step as the compiler does."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np

from m5jax.configuration.model_sizes import PREDICTED, ModelConfig
from m5jax.models import EncoderDecoderConfig, FunctionalModel
from m5jax.objectives import LanguageModel, SequenceToSequence
from m5jax.training.ahead_of_time import lower_train_step
from m5jax.training.optimizers import Adafactor, AdamW
from m5jax.training.schedules import Cosine
from partitioning.layout import Layout
from partitioning.mesh import make_mesh
from partitioning.workload import Head, Tensor, Workload

INPUT_ARRAYS = ("inputs", "segment_ids", "positions")


def count_predictions(config: ModelConfig, length: int) -> int:
    """Returns the predictions of a row of `length` tokens: masked tokens, targets, or all."""
    return max(1, round(length * PREDICTED[type(config).__name__]))


def describe_workload(config: ModelConfig, length: int, predicted: int) -> Workload:
    """Returns what a row of `length` tokens with `predicted` predictions costs."""
    model = FunctionalModel.from_config(config)
    axes = jax.tree.leaves(model.logical_axes, is_leaf=lambda node: isinstance(node, tuple))
    leaves = jax.tree_util.tree_leaves_with_path(model.abstract_parameters)
    tensors = tuple(
        Tensor("/".join(key.key for key in path), leaf.shape, names)
        for (path, leaf), names in zip(leaves, axes, strict=True)
    )
    head = Head(config.width, config.vocab_size, predicted, config.has_dense_head)
    return Workload(config.stacks(float(length), float(predicted)), head, tensors)


@dataclasses.dataclass(frozen=True)
class PlannedModel:
    """A model and the rows it is to be trained on.

    Attributes:
      length: tokens a row; of an encoder-decoder, of inputs.
    """

    name: str
    path: Path
    config: ModelConfig
    length: int

    @property
    def predicted(self) -> int:
        """Predictions a row."""
        return count_predictions(self.config, self.length)

    def workload(self) -> Workload:
        """Returns what a row costs."""
        return describe_workload(self.config, self.length, self.predicted)

    def lower(self, layout: Layout, devices: list[jax.Device], batch_size: int) -> jax.stages.Lowered:
        """Returns the step of a global batch under a layout, for devices that need not be here."""
        config = dataclasses.replace(
            self.config,
            dtype="bfloat16",
            remat=layout.remat,
            pipeline_microbatches=layout.microbatches if layout.mesh.pipeline > 1 else 0,
            pipeline_rounds=layout.rounds,
        )
        if not isinstance(config, EncoderDecoderConfig):
            config = dataclasses.replace(config, max_length=max(config.max_length, self.length))
        schedule = Cosine(peak=1e-3, warmup_steps=100, total_steps=1000)
        optimizer = AdamW(schedule) if layout.optimizer == "adamw" else Adafactor(schedule)
        objective: LanguageModel | SequenceToSequence = LanguageModel(chunk_length=layout.chunk)
        if isinstance(config, EncoderDecoderConfig):
            objective = SequenceToSequence(chunk_length=layout.chunk)
        mesh = make_mesh(layout.mesh, devices)
        model = FunctionalModel.from_config(config)
        return lower_train_step(model, objective, optimizer, mesh, self.batch(batch_size), layout.accumulation)

    def batch(self, rows: int) -> dict[str, tuple[tuple[int, ...], Any]]:
        """Returns the shape and type of each array of a batch."""
        inputs, predicted = ((rows, self.length), np.int32), ((rows, self.predicted), np.int32)
        names: tuple[str, ...] = ("targets", "predicted_positions")
        if isinstance(self.config, EncoderDecoderConfig):
            names = ("targets", "target_segment_ids", "target_positions")
        shapes = dict.fromkeys(INPUT_ARRAYS, inputs) | dict.fromkeys(names, predicted)
        return shapes | {"loss_weights": ((rows, self.predicted), np.float32)}
