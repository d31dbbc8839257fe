"""An embedding of which tokens a text has: texts that share tokens are near, whatever a small encoder makes of them.

Each token has a vector, drawn at random, so that those of different tokens are nearly orthogonal and the inner product
of two texts counts the tokens that they share (Johnson & Lindenstrauss 1984; of search, arXiv 2206.09912), each as
much as it matters. How much that is, and which tokens mean the same, is learned.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from m5jax.models.layers import embed_tokens, normal_parameter


class LexicalEmbedding(nnx.Module):
    """Sums the vectors of a text's tokens, weighted by what each token's embedding says of its importance.

    Args:
      vocab_size: of tokens.
      width: of their embeddings.
      size: of the vectors.
    """

    def __init__(self, vocab_size: int, width: int, size: int, rngs: nnx.Rngs):
        self.vectors = normal_parameter(rngs, (vocab_size, size), ("vocab", "embed"), size**-0.5)
        self.importance = nnx.Param(jnp.zeros((width,), jnp.float32), logical_axes=("embed",))
        self.importance_bias = nnx.Param(jnp.zeros((1,), jnp.float32), logical_axes=("positions",))

    def __call__(
        self,
        inputs: Int[Array, "batch length"],
        embedded: Float[Array, "batch length width"],
        is_token: Bool[Array, "batch length"],
    ) -> Float[Array, "batch size"]:
        """Returns one float32 vector a row.

        Args:
          inputs: token ids.
          embedded: the tokens, without their context.
          is_token: False for padding.
        """
        weights = jnp.matmul(embedded.astype(jnp.float32), self.importance[...], precision=jax.lax.Precision.HIGHEST)
        weights = jax.nn.softplus(weights + self.importance_bias[0]) * is_token
        vectors = embed_tokens(self.vectors[...], inputs, jnp.dtype("float32"))
        return jnp.einsum("bl,ble->be", weights, vectors, precision=jax.lax.Precision.HIGHEST)
