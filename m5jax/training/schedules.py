"""Learning-rate schedules: a linear warm-up, then inverse square root, cosine, or warm-up-stable-decay."""

import dataclasses

import jax.numpy as jnp
import optax

from m5jax.errors import UserError, check_least


@dataclasses.dataclass(frozen=True)
class InverseSquareRoot:
    """`peak * sqrt(warmup / step)` after the warm-up (arXiv 1706.03762, section 5.3); needs no end."""

    peak: float
    warmup_steps: int

    def __post_init__(self) -> None:
        check_least(self, warmup_steps=1)

    def make(self) -> optax.Schedule:
        def decay(step: optax.ScalarOrSchedule) -> optax.ScalarOrSchedule:
            # `step` counts from the end of the warm-up here; before it, what this returns is not used.
            return self.peak * (self.warmup_steps / (jnp.maximum(step, 0) + self.warmup_steps)) ** 0.5

        warmup = optax.linear_schedule(0.0, self.peak, self.warmup_steps)
        return optax.join_schedules([warmup, decay], [self.warmup_steps])


@dataclasses.dataclass(frozen=True)
class Cosine:
    """Half a cosine from `peak` to `final_fraction * peak` at `total_steps` (arXiv 1608.03983).

    A warm-up that the run is too short for ends one step before it does, so that a trial run needs no other settings.
    `total_steps` 0 is for a fine-tuning: those of its epochs.
    """

    peak: float
    warmup_steps: int
    total_steps: int
    final_fraction: float = 0.1

    def __post_init__(self) -> None:
        check_least(self, warmup_steps=0, total_steps=0)

    def make(self) -> optax.Schedule:
        warmup = min(self.warmup_steps, max(self.total_steps - 1, 0))
        return optax.warmup_cosine_decay_schedule(
            0.0, self.peak, warmup, max(self.total_steps, 1), self.peak * self.final_fraction
        )


@dataclasses.dataclass(frozen=True)
class WarmupStableDecay:
    """Constant at `peak` until the last `decay_steps`, then linear to zero (WSD, arXiv 2404.06395, section 4)."""

    peak: float
    warmup_steps: int
    decay_steps: int
    total_steps: int

    def __post_init__(self) -> None:
        check_least(self, warmup_steps=0, decay_steps=0)
        if self.warmup_steps + self.decay_steps > self.total_steps:
            raise UserError(
                f"WarmupStableDecay: {self.warmup_steps} warm-up and {self.decay_steps} decay steps exceed "
                f"the {self.total_steps} steps of the run"
            )

    def make(self) -> optax.Schedule:
        return optax.join_schedules(
            [
                optax.linear_schedule(0.0, self.peak, self.warmup_steps),
                optax.constant_schedule(self.peak),
                optax.linear_schedule(self.peak, 0.0, self.decay_steps),
            ],
            [self.warmup_steps, self.total_steps - self.decay_steps],
        )


Schedule = InverseSquareRoot | Cosine | WarmupStableDecay
