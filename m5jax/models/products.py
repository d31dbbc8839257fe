"""Products of states with parameters that are split over devices, and their gradients."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from partitioning import constrain
from partitioning.current_mesh import constrain_transposed

PRODUCT = "product"  # by which remat policies know what `linear` returns


def linear(
    x: Float[Array, "..."], kernel: nnx.Param[jax.Array], dtype: jnp.dtype, contracted: int = 1
) -> Float[Array, "..."]:
    """Returns the product over the last `contracted` axes of `x` and the first of a parameter, in `dtype`.

    Runs as one product of matrices: for gradients of products with several leading axes, XLA's CPU backend first copies
    the operands into another layout.
    """
    axes = tuple(name for name in kernel.logical_axes if name != "layers")
    leading, trailing = x.shape[: x.ndim - contracted], kernel.shape[contracted:]
    # One axis of what waits for the backward pass: TPUs would pad heads of 64 to 128.
    x = x.reshape(*leading, -1)
    product = checkpoint_name(gathered_product(axes, False, dtype, dtype, x, kernel[...]), PRODUCT)
    return product.reshape(*leading, *trailing)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2, 3))
def gathered_product(
    axes: tuple[str, ...],
    transposed: bool,
    dtype: jnp.dtype,
    result: jnp.dtype,
    x: Float[Array, "... size"],
    kernel: Float[Array, "..."],
) -> Float[Array, "rows features"]:
    """Returns rows times a kernel that is gathered for it.

    By name, since XLA (of JAX 0.10), left to gather it by itself, computes wrong products with what is still split on
    meshes of four axes (tests/training/test_layouts.py). All that waits for the backward pass is what comes in, which
    several products may share: kernels are converted and gathered again, not kept so.

    Args:
      axes: logical axes of the parameter.
      transposed: the kernel is the parameter's transpose; else the parameter itself.
      dtype: of both factors, here and in the backward pass, and of the kernel's gradient while devices add theirs up.
      result: of the product.
      x: rows.
      kernel: whose first axes are those of `size`, in its own type, which its gradient has.
    """
    return jnp.matmul(*_matrices(axes, transposed, dtype, x, kernel), preferred_element_type=result)


def _matrices(
    axes: tuple[str, ...], transposed: bool, dtype: jnp.dtype, x: Any, kernel: Any
) -> tuple[Float[Array, "rows size"], Float[Array, "size features"]]:
    """Returns both factors, of the kernel what its axes but `embed` leave to a device."""
    own = tuple(None if name == "embed" else name for name in axes)
    size = x.shape[-1]
    return x.reshape(-1, size).astype(dtype), _pin(kernel.astype(dtype), own, transposed).reshape(size, -1)


def _pin(kernel: Any, axes: tuple[str | None, ...], transposed: bool) -> Array:
    return constrain_transposed(kernel, *axes) if transposed else constrain(kernel, *axes)


def _product_forward(
    axes: tuple[str, ...], transposed: bool, dtype: jnp.dtype, result: jnp.dtype, x: Any, kernel: Any
) -> tuple[Array, tuple[Any, Any]]:
    rows, matrix = _matrices(axes, transposed, dtype, x, kernel)
    return jnp.matmul(rows, matrix, preferred_element_type=result), (x, kernel)


def _product_backward(
    axes: tuple[str, ...], transposed: bool, dtype: jnp.dtype, result: jnp.dtype, kept: tuple[Any, Any], gradient: Any
) -> tuple[Array, Array]:
    x, kernel = kept
    rows, matrix = _matrices(axes, transposed, dtype, x, kernel)
    gradient = gradient.astype(dtype)
    of_kernel = _pin((rows.T @ gradient).reshape(kernel.shape), axes, transposed)
    return (gradient @ matrix.T).reshape(x.shape).astype(x.dtype), of_kernel.astype(kernel.dtype)


gathered_product.defvjp(_product_forward, _product_backward)
