"""A stack of equal layers: parameters on a leading `layers` axis, run by one `jax.lax.scan`.

Compile time and program size stay constant in depth. On purpose not `nnx.scan`: modules are split into a graph
definition and arrays, which keeps sharding and memory in plain JAX.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Key

from m5jax.errors import UserError
from m5jax.models.pipeline import Schedule, run_stages
from m5jax.models.products import PRODUCT
from partitioning import current_parts
from partitioning.current_mesh import current_stages, within_stage

Carry = TypeVar("Carry")

LAYER_INPUT = "layer_input"
# What the backward pass keeps of each layer beside its input; the rest is computed again (`jax.checkpoint`).
REMAT_POLICIES: dict[str, Callable[..., Any] | None] = {
    "none": None,
    "dots": jax.checkpoint_policies.save_only_these_names(PRODUCT),
    "attention_saved": jax.checkpoint_policies.save_only_these_names("query", "key", "value", "attended"),
    "full": jax.checkpoint_policies.nothing_saveable,
    # The input too leaves the device, to the memory of its host.
    "offload": jax.checkpoint_policies.save_and_offload_only_these_names(
        names_which_can_be_saved=[],
        names_which_can_be_offloaded=[LAYER_INPUT],
        offload_src="device",
        offload_dst="pinned_host",
    ),
}


def stack_layers(make_layer: Callable[[nnx.Rngs], nnx.Module], count: int, rngs: nnx.Rngs) -> nnx.Module:
    """Returns one module whose parameters hold `count` independently drawn layers on a leading `layers` axis."""
    graphdef, template = nnx.split(make_layer(rngs))

    def draw(key: Key[Array, ""]) -> Any:
        return nnx.to_pure_dict(nnx.state(make_layer(nnx.Rngs(params=key))))

    nnx.replace_by_pure_dict(template, jax.vmap(draw)(jax.random.split(rngs.params(), count)))
    layers = nnx.merge(graphdef, template)
    for _, parameter in nnx.iter_graph(layers):
        if isinstance(parameter, nnx.Param):
            parameter.set_metadata("logical_axes", ("layers", *parameter.logical_axes))
    return layers


def remat_cycle(remat: str | Sequence[str]) -> tuple[str, ...]:
    """Returns the policies that layers take in turn."""
    return (remat,) if isinstance(remat, str) else tuple(remat)


def scan_layers(
    layers: nnx.Module,
    x: Carry,
    apply: Callable[[Any, Carry, Any], Carry],
    per_layer: Any,
    remat: str | Sequence[str],
) -> Carry:
    """Runs `x = apply(layer, x, slice of per_layer)` over the stacked layers in order.

    Args:
      layers: from `stack_layers`.
      x: activations, [batch, length, embed], and what else goes from layer to layer.
      apply: one layer.
      per_layer: arrays with a leading `layers` axis handed to `apply`, such as layer indices and dropout keys.
      remat: a name in `REMAT_POLICIES`, or several that layers take in turn; how many divides the layers.
    """
    graphdef, state = nnx.split(layers)
    policies = remat_cycle(remat)

    def one(carry: Carry, slices: Any) -> Carry:
        layer_state, extra = slices
        return apply(nnx.merge(graphdef, layer_state), jax.tree.map(_name_input, carry), extra)

    steps = [_rematerialized(one, REMAT_POLICIES[policy]) for policy in policies]

    def body(carry: Carry, slices: Any) -> tuple[Carry, None]:
        for place, step in enumerate(steps):
            carry = step(carry, slices if len(steps) == 1 else jax.tree.map(lambda leaf, i=place: leaf[i], slices))
        return carry, None

    slices = (state, per_layer)
    if len(steps) > 1:
        slices = jax.tree.map(lambda leaf: leaf.reshape(-1, len(steps), *leaf.shape[1:]), slices)
    return jax.lax.scan(body, x, slices)[0]


def run_layers(
    layers: nnx.Module,
    x: Float[Array, "batch length embed"],
    rows: Any,
    apply_to: Callable[[Any], Callable[[Any, Array, Any], Array]],
    config: Any,
    part: slice = slice(None),
) -> Float[Array, "batch length embed"]:
    """Runs a stack on whole rows; in stages where the mesh has a pipeline.

    Args:
      layers: from `stack_layers`.
      x: states.
      rows: arrays with a leading `batch` axis that all layers have beside the states; None stands for none.
      apply_to: of rows, what `scan_layers` applies; it is given the number of each layer.
      config: a `ModelSettings`.
      part: the layers to run.

    Raises:
      UserError: the layers are a part, and the mesh has a pipeline.
    """
    graphdef, state = nnx.split(layers)
    indices = jnp.arange(jax.tree.leaves(state)[0].shape[0])
    stages = current_stages()
    if stages == 1:
        if part != slice(None):
            state, indices = jax.tree.map(lambda leaf: leaf[part], (state, indices))
        return scan_layers(nnx.merge(graphdef, state), x, apply_to(rows), indices, config.remat)
    if part != slice(None):
        raise UserError("layers cannot be frozen in a pipeline; set MeshConfig.pipeline to 1")

    def run_chunk(chunk: Any, states: Array, own_rows: Any) -> Array:
        own, own_indices = chunk
        return scan_layers(nnx.merge(graphdef, own), states, apply_to(own_rows), own_indices, config.remat)

    with within_stage():
        parts = config.microbatches(stages, len(x) // current_parts("batch", len(x)))
    return run_stages((state, indices), x, rows, run_chunk, Schedule(stages, config.pipeline_rounds, parts))


def _name_input(x: Array) -> Array:
    return checkpoint_name(x, LAYER_INPUT)


def _rematerialized(function: Callable[..., Any], policy: Callable[..., Any] | None) -> Callable[..., Any]:
    return function if policy is None else jax.checkpoint(function, policy=policy, prevent_cse=False)
