"""Optimizers by configuration: AdamW and Adafactor with a schedule and global-norm clipping."""

import dataclasses
from typing import Any

import jax
import optax

from m5jax.errors import UserError
from m5jax.models import Parameters
from m5jax.training.schedules import Schedule


def decay_mask(logical_axes: Parameters) -> Any:
    """Returns which parameters decay: matrices, not norm scales (one axis besides `layers`)."""
    return jax.tree.map(
        lambda axes: len([axis for axis in axes if axis != "layers"]) > 1,
        logical_axes,
        is_leaf=lambda node: isinstance(node, tuple),
    )


@dataclasses.dataclass(frozen=True)
class AdamW:
    """AdamW (arXiv 1711.05101). `clip_norm` bounds the global gradient norm; 0 does not clip."""

    schedule: Schedule
    beta1: float = 0.9
    beta2: float = 0.98
    epsilon: float = 1e-8
    weight_decay: float = 0.01
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        if not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1):
            raise UserError(f"AdamW: beta1 {self.beta1} and beta2 {self.beta2} must lie in [0, 1)")
        _check("AdamW", epsilon=self.epsilon, weight_decay=self.weight_decay, clip_norm=self.clip_norm)

    def make(self, logical_axes: Parameters) -> optax.GradientTransformation:
        """Returns the transformation for parameters with these logical axes."""
        update = optax.adamw(
            self.schedule.make(),
            self.beta1,
            self.beta2,
            self.epsilon,
            weight_decay=self.weight_decay,
            mask=decay_mask(logical_axes),
        )
        return _clipped(update, self.clip_norm)


@dataclasses.dataclass(frozen=True)
class Adafactor:
    """Adafactor (arXiv 1804.04235) with factored second moments and the schedule's rate, as T5X pre-trains.

    Factors the two largest axes of each stacked parameter; update clipping is over a whole stack of layers.
    `weight_decay` is a share of the parameter a step, not multiplied by the rate. `clip_norm` as in AdamW.
    """

    schedule: Schedule
    decay_rate: float = 0.8
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    multiply_by_parameter_scale: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.decay_rate < 1:
            raise UserError(f"Adafactor: decay_rate {self.decay_rate} must lie in (0, 1)")
        _check("Adafactor", weight_decay=self.weight_decay, clip_norm=self.clip_norm)

    def make(self, logical_axes: Parameters) -> optax.GradientTransformation:
        """Returns the transformation for parameters with these logical axes."""
        update = optax.adafactor(
            self.schedule.make(),
            decay_rate=self.decay_rate,
            multiply_by_parameter_scale=self.multiply_by_parameter_scale,
            weight_decay_rate=self.weight_decay or None,
            weight_decay_mask=decay_mask(logical_axes),
        )
        return _clipped(update, self.clip_norm)


def _check(name: str, **values: float) -> None:
    for value_name, value in values.items():
        if not value >= 0:
            raise UserError(f"{name}.{value_name} = {value}; allowed: 0 and above")


def _clipped(update: optax.GradientTransformation, clip_norm: float) -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(clip_norm), update) if clip_norm else update


Optimizer = AdamW | Adafactor
