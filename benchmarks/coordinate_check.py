"""How far a few steps of training move models as they grow wide, with maximal updates and with standard ones.

    python benchmarks/coordinate_check.py

With maximal updates the change of the states does not grow with the width, with standard ones it does until the loss
breaks (arXiv 2203.03466, appendix D.1). Trains models of 2 layers and 4 heads on one batch of random tokens, 3 steps
after one that warms; writes benchmarks/results/coordinate_check.json and draws docs/images/coordinate_check.png. The
test of the same measurement is tests/training/test_coordinate_check.py.
"""

import argparse
import functools
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from benchmarks.environment import environment
from m5jax.evaluation.tables import format_table
from m5jax.models import DecoderConfig, EncoderConfig, EncoderDecoderConfig, FunctionalModel, MaximalUpdate
from m5jax.objectives import Batch, LanguageModel, Objective, SequenceToSequence
from m5jax.objectives.language_model import predicted_states
from m5jax.objectives.sequence_to_sequence import target_states
from m5jax.training.optimizers import Adafactor, AdamW, Optimizer
from m5jax.training.schedules import InverseSquareRoot
from m5jax.training.state import init_state
from m5jax.training.step import make_train_step

StatesOf = Callable[[Any, Batch], Array]

REPOSITORY = Path(__file__).resolve().parent.parent
RESULT = REPOSITORY / "benchmarks" / "results" / "coordinate_check.json"
PICTURE = REPOSITORY / "docs" / "images" / "coordinate_check.png"
WIDTHS = (64, 128, 256, 512, 1024)
VOCAB, LENGTH, HEADS = 64, 16, 4  # the size of heads grows with the width
STEPS = 4

OPTIMIZERS: dict[str, Optimizer] = {
    "AdamW": AdamW(InverseSquareRoot(3e-4, 1)),
    "Adafactor": Adafactor(InverseSquareRoot(3e-3, 1)),
    "Adafactor, absolute steps": Adafactor(InverseSquareRoot(3e-4, 1), multiply_by_parameter_scale=False),
}


def encoder(width: int, base: MaximalUpdate | None) -> EncoderConfig:
    return EncoderConfig(**_shape(width, base), layers=2)


def decoder(width: int, base: MaximalUpdate | None) -> DecoderConfig:
    return DecoderConfig(**_shape(width, base), layers=2, kv_heads=2)


def encoder_decoder(width: int, base: MaximalUpdate | None) -> EncoderDecoderConfig:
    return EncoderDecoderConfig(**_shape(width, base), encoder_layers=2, decoder_layers=2)


def _shape(width: int, base: MaximalUpdate | None) -> dict[str, Any]:
    sizes = {"vocab_size": VOCAB, "heads": HEADS, "width": width, "mlp_hidden": 2 * width}
    return sizes | {"dtype": "float32", "maximal_update": base}


MODELS: dict[str, tuple[Callable[..., Any], Objective, StatesOf]] = {
    "encoder": (encoder, LanguageModel(), functools.partial(predicted_states, dropout_keys=None)),
    "decoder": (decoder, LanguageModel(), functools.partial(predicted_states, dropout_keys=None)),
    "encoder-decoder": (encoder_decoder, SequenceToSequence(), functools.partial(target_states, dropout_keys=None)),
}


def random_batch() -> Batch:
    """Returns rows of random tokens that are all predicted."""
    random = np.random.default_rng(0)
    inputs, targets = (jnp.asarray(random.integers(4, VOCAB, (4, LENGTH)), jnp.int32) for _ in range(2))
    positions, ones = jnp.broadcast_to(jnp.arange(LENGTH), inputs.shape), jnp.ones_like(inputs)
    of_inputs = {"inputs": inputs, "segment_ids": ones, "positions": positions, "predicted_positions": positions}
    of_targets = {"targets": targets, "target_segment_ids": ones, "target_positions": positions}
    return {**of_inputs, **of_targets, "loss_weights": jnp.ones(inputs.shape)}


def measure_changes(
    model: FunctionalModel,
    objective: Objective,
    optimizer: Optimizer,
    batch: Batch,
    states_of: StatesOf,
    steps: int,
    seed: int,
) -> dict[str, float]:
    """Returns how far training on one batch moves a model from its start: the mean absolute change of its last states
    and of its logits (the coordinate check of arXiv 2203.03466, appendix D.1).

    Args:
      model: without dropout.
      objective: of the training.
      optimizer: whose rate the steps take.
      batch: what every step trains on.
      states_of: of a bound model and a batch, the states that logits are made of.
      steps: how many.
      seed: of the model's parameters.
    """
    transformation = optimizer.make(model.logical_axes, model.width_multiple)
    step = jax.jit(make_train_step(model, objective, transformation))

    @jax.jit
    def outputs(parameters: Any) -> dict[str, Array]:
        module = model.bind(parameters)
        states = states_of(module, batch)
        return {"states": states.astype(jnp.float32), "logits": module.logits(states)}

    state = jax.jit(lambda key: init_state(model, transformation, key))(jax.random.key(seed))
    start = outputs(state["parameters"])
    for _ in range(steps):
        state, _ = step(state, batch)
    return {name: float(jnp.mean(jnp.abs(now - start[name]))) for name, now in outputs(state["parameters"]).items()}


def growth(widths: Sequence[int], sizes: Sequence[float]) -> float:
    """Returns the power of the width with which sizes grow, fitted by least squares: 0 where they do not."""
    return float(np.polyfit(np.log(widths), np.log(sizes), 1)[0])


def measure(model: str, optimizer: str, widths: Sequence[int], maximal: bool, seed: int) -> dict[str, list[float]]:
    """Returns the changes of states and logits after the last step, one a width; the narrowest model is the base."""
    make, objective, states_of = MODELS[model]
    base = MaximalUpdate(widths[0], widths[0] // HEADS) if maximal else None
    changes = [
        measure_changes(
            FunctionalModel.from_config(make(width, base)),
            objective,
            OPTIMIZERS[optimizer],
            random_batch(),
            states_of,
            STEPS,
            seed,
        )
        for width in widths
    ]
    return {name: [of_width[name] for of_width in changes] for name in changes[0]}


def draw(runs: Sequence[dict[str, Any]]) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(MODELS), figsize=(11, 3.6), sharey=True, layout="constrained")
    for axis, model in zip(axes, MODELS, strict=True):
        for color, optimizer in enumerate(OPTIMIZERS):
            for run in runs:
                if (run["model"], run["optimizer"]) == (model, optimizer):
                    style, label = ("o-", "maximal update") if run["maximal_update"] else ("o--", "standard")
                    axis.plot(WIDTHS, run["states"], style, color=f"C{color}", label=f"{optimizer}, {label}")
        axis.set(title=model, xscale="log", yscale="log", xlabel="width", xticks=WIDTHS, xticklabels=WIDTHS)
        axis.minorticks_off()
    axes[0].set_ylabel(f"mean change of states in {STEPS} steps")
    axes[0].legend(fontsize="x-small")
    figure.savefig(PICTURE, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the parameters (default: %(default)s)")
    arguments = parser.parse_args()
    runs = [
        {"model": model, "optimizer": optimizer, "maximal_update": maximal}
        | measure(model, optimizer, WIDTHS, maximal, arguments.seed)
        for model in MODELS
        for optimizer in OPTIMIZERS
        for maximal in (True, False)
    ]
    for run in runs:
        run |= {f"{name}_growth": growth(WIDTHS, run[name]) for name in ("states", "logits")}
    result = {"environment": environment(), "widths": WIDTHS, "steps": STEPS, "seed": arguments.seed, "runs": runs}
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    draw(runs)
    headers = ("model", "optimizer", "parametrization", "growth of states", "of logits")
    rows = [
        [run["model"], run["optimizer"], "maximal update" if run["maximal_update"] else "standard"]
        + [f"{run[name]:.2f}" for name in ("states_growth", "logits_growth")]
        for run in runs
    ]
    print(format_table(headers, rows, ("left", "left", "left", "right", "right")))


if __name__ == "__main__":
    main()
