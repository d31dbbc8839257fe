"""How much of a pre-trained model a fine-tuning changes, and how fast each part of it."""

import dataclasses
import math
from typing import Any

import jax
import numpy as np
import optax

from m5jax.errors import UserError
from m5jax.models import FunctionalModel, ModelSettings, Parameters
from m5jax.models.encoder import EncoderConfig
from m5jax.models.low_rank import ADAPTERS, LowRankAdapters
from m5jax.training.optimizers import Optimizer
from m5jax.training.schedules import Schedule

ENCODERS = ("encoder", "right_encoder")  # where models with heads keep what was pre-trained
_UNUSED = "masked_lm_head"  # in models with heads of their own


@dataclasses.dataclass(frozen=True)
class FineTunedPart:
    """What of a pre-trained model is trained, beside the heads that a task adds.

    Attributes:
      layers: so many of an encoder's last ones, with the norm after them; 0: heads only; None: all of it, with the
        embedding.
      adapters: low-rank ones, with which all that was pre-trained stays as it is; None: there are none.
      layer_decay: each layer's rate is that of the layer after it times this, the heads' being the optimizer's
        (arXiv 2003.10555, appendix B); 1: all are alike.
      head_multiple: of the heads' rate.
    """

    layers: int | None = None
    adapters: LowRankAdapters | None = None
    layer_decay: float = 1.0
    head_multiple: float = 1.0

    def __post_init__(self) -> None:
        if self.layers is not None and self.layers < 0:
            raise UserError(f"FineTunedPart.layers = {self.layers}; allowed: 0 and above, or None")
        if self.layers is not None and self.adapters is not None:
            raise UserError("FineTunedPart has both layers and adapters; with adapters no layer changes")
        if not 0 < self.layer_decay <= 1 or not 0 < self.head_multiple < math.inf:
            raise UserError(
                f"FineTunedPart: layer_decay = {self.layer_decay}, head_multiple = {self.head_multiple}; allowed: "
                "above 0, and a decay of at most 1"
            )

    def prepare(self, config: Any) -> Any:
        """Returns an encoder's, or whole model's, config with adapters and with its first layers frozen."""
        if self.layers is None:
            return dataclasses.replace(config, adapters=self.adapters) if self.adapters else config
        if not isinstance(config, EncoderConfig):
            raise UserError(f"FineTunedPart.layers is of encoders; {type(config).__name__} is none: set it to None")
        if self.layers > config.layers:
            raise UserError(f"FineTunedPart.layers = {self.layers}; the encoder has {config.layers}")
        return dataclasses.replace(config, frozen_layers=config.layers - self.layers)

    def trained(self, model: FunctionalModel) -> FunctionalModel:
        """Returns the model, made of what `prepare` returned, that knows which of its parameters are trained."""

        def is_trained(path: tuple[Any, ...], _: Any) -> bool:
            names = [key.key for key in path]
            if _UNUSED in names and names[0] in ENCODERS:
                return False
            if self.adapters is not None:
                return ADAPTERS in names or not _was_pretrained(model, names)
            if not _was_pretrained(model, names) or self.layers is None:
                return True
            return self.layers > 0 and names[1] in ("layers", "final_norm")

        trained = jax.tree_util.tree_map_with_path(is_trained, model.abstract_parameters)
        return dataclasses.replace(model, trained=trained)

    def optimizer(self, optimizer: Optimizer, model: FunctionalModel) -> "Optimizer | ScaledOptimizer":
        """Returns the optimizer with the rates of each part of `model`, as `trained` returned it.

        Raises:
          UserError: layers have rates of their own, and the model has no encoder with layers.
        """
        encoder = getattr(model.config, "encoder", None)
        if self.layer_decay < 1 and not isinstance(encoder, EncoderConfig):
            raise UserError(
                f"FineTunedPart.layer_decay is of encoders with layers; {type(encoder or model.config).__name__} is "
                "none: set it to 1"
            )
        if self.layers is None and self.layer_decay == 1 and self.head_multiple == 1:
            return optimizer
        return ScaledOptimizer(optimizer, model.trained_part(self._rates(model)))

    def _rates(self, model: FunctionalModel) -> Parameters:
        def rate(path: tuple[Any, ...], leaf: Any) -> Any:
            names = [key.key for key in path]
            if not _was_pretrained(model, names):
                return self.head_multiple
            if names[0] not in ENCODERS:
                return 1.0
            config = getattr(model.config, "encoder", None)
            if not isinstance(config, EncoderConfig):
                return 1.0
            if names[1] == "layers":
                below = np.arange(config.layers, 0, -1)
                rates = np.where(below <= config.layers - config.frozen_layers, self.layer_decay**below, 0.0)
                return rates.reshape(-1, *[1] * (len(leaf.shape) - 1)).astype(np.float32)
            return self.layer_decay ** (1 if names[1] == "final_norm" else config.layers + 1)

        return jax.tree_util.tree_map_with_path(rate, model.abstract_parameters)


@dataclasses.dataclass(frozen=True)
class ScaledOptimizer:
    """An optimizer whose updates of each parameter, decay included, are multiplied by a factor of its own."""

    optimizer: Optimizer
    factors: Parameters

    @property
    def schedule(self) -> Schedule:
        return self.optimizer.schedule

    def make(self, logical_axes: Parameters, width_multiple: float) -> optax.GradientTransformation:
        """As `AdamW.make`."""

        def scale(updates: Any, _: Any) -> Any:
            return jax.tree.map(lambda update, factor: update * factor, updates, self.factors)

        return optax.chain(self.optimizer.make(logical_axes, width_multiple), optax.stateless(scale))


def _was_pretrained(model: FunctionalModel, names: list[str]) -> bool:
    """Whether a parameter is of what was pre-trained: an encoder in a model with heads, or of a model without."""
    return isinstance(model.config, ModelSettings) or names[0] in ENCODERS
