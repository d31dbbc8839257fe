"""Optimizers by configuration: AdamW and Adafactor with a schedule and global-norm clipping.

Both know how much smaller updates of wide models are (`m5jax.models.maximal_update`).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import optax

from m5jax.errors import UserError, check_least
from m5jax.models import Parameters, is_matrix
from m5jax.training.schedules import Schedule


def decay_mask(logical_axes: Parameters) -> Any:
    """Returns which parameters decay: matrices, not norm scales (one axis besides `layers`)."""
    return _map_axes(lambda axes: len([axis for axis in axes if axis != "layers"]) > 1, logical_axes)


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
        check_least(self, epsilon=0, weight_decay=0, clip_norm=0)

    def make(self, logical_axes: Parameters, width_multiple: float) -> optax.GradientTransformation:
        """Returns the transformation for parameters with these logical axes, of a model `width_multiple` times as wide
        as its base; decay is that of the base."""
        update = optax.chain(  # `optax.adamw`, with what stands before the decay
            optax.scale_by_adam(self.beta1, self.beta2, self.epsilon),
            *_smaller_matrix_updates(logical_axes, width_multiple),
            optax.add_decayed_weights(self.weight_decay, decay_mask(logical_axes)),
            optax.scale_by_learning_rate(self.schedule.make()),
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
        check_least(self, weight_decay=0, clip_norm=0)

    def make(self, logical_axes: Parameters, width_multiple: float) -> optax.GradientTransformation:
        """As `AdamW.make`."""
        # Steps relative to a matrix's entries, which start at 1 / sqrt(width), shrink with them already.
        relative = self.multiply_by_parameter_scale
        divisor = width_multiple**0.5 if relative else width_multiple
        decay = optax.add_decayed_weights(self.weight_decay, decay_mask(logical_axes))
        update = optax.chain(  # `optax.adafactor`, with what stands before the decay
            optax.scale_by_factored_rms(decay_rate=self.decay_rate),
            optax.clip_by_block_rms(1.0),
            optax.scale_by_learning_rate(self.schedule.make(), flip_sign=False),
            *([optax.scale_by_param_block_rms()] if relative else []),
            *_smaller_matrix_updates(logical_axes, divisor),
            *([decay] if self.weight_decay else []),
            optax.scale(-1),
        )
        return _clipped(update, self.clip_norm)


def _map_axes(function: Callable[[tuple[str, ...]], Any], logical_axes: Parameters) -> Any:
    return jax.tree.map(function, logical_axes, is_leaf=lambda node: isinstance(node, tuple))


def _smaller_matrix_updates(logical_axes: Parameters, divisor: float) -> list[optax.GradientTransformation]:
    """Returns what divides the updates of matrices from width to width; nothing for 1."""
    if divisor == 1:
        return []
    factors = _map_axes(lambda axes: 1 / divisor if is_matrix(axes) else 1.0, logical_axes)
    return [optax.stateless(lambda updates, _: jax.tree.map(lambda update, factor: update * factor, updates, factors))]


def _clipped(update: optax.GradientTransformation, clip_norm: float) -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(clip_norm), update) if clip_norm else update


Optimizer = AdamW | Adafactor
