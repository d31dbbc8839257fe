"""A stack of equal layers: parameters on a leading `layers` axis, run by one `jax.lax.scan`.

Compile time and program size stay constant in depth. On purpose not `nnx.scan`: modules are split into a graph
definition and arrays, which keeps sharding and memory in plain JAX.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
from flax import nnx
from jaxtyping import Array, Key

Carry = TypeVar("Carry")

# What the backward pass keeps of each layer; the rest is computed again (`jax.checkpoint`).
REMAT_POLICIES: dict[str, Callable[..., Any] | None] = {
    "none": None,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "outputs": jax.checkpoint_policies.save_only_these_names("attention_output", "mlp_output"),
    "full": jax.checkpoint_policies.nothing_saveable,
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


def scan_layers(
    layers: nnx.Module,
    x: Carry,
    apply: Callable[[Any, Carry, Any], Carry],
    per_layer: Any,
    remat: str,
) -> Carry:
    """Runs `x = apply(layer, x, slice of per_layer)` over the stacked layers in order.

    Args:
      layers: from `stack_layers`.
      x: activations, [batch, length, embed], and what else goes from layer to layer.
      apply: one layer.
      per_layer: arrays with a leading `layers` axis handed to `apply`, such as layer indices and dropout keys.
      remat: a name in `REMAT_POLICIES`.
    """
    graphdef, state = nnx.split(layers)

    def body(carry: Carry, slices: Any) -> tuple[Carry, None]:
        layer_state, extra = slices
        return apply(nnx.merge(graphdef, layer_state), carry, extra), None

    policy = REMAT_POLICIES[remat]
    if policy is not None:
        body = jax.checkpoint(body, policy=policy, prevent_cse=False)
    return jax.lax.scan(body, x, (state, per_layer))[0]
