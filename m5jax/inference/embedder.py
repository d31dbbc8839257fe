"""Texts to embeddings with a trained encoder."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from m5jax.data.attributes import SEPARATORS, AttributeFormat
from m5jax.data.serialize import neutralize
from m5jax.data.vocabulary import Vocabulary
from m5jax.inference.text_batches import batches_by_length, encode_texts
from m5jax.models import FunctionalModel, Parameters
from partitioning import batch_shards, global_batch


@dataclasses.dataclass
class Embedder:
    """A model bound to its parameters and vocabulary, on a mesh.

    Attributes:
      attributes: how the products that the model was trained on were written.
      texts_cut: texts so far that were longer than the model takes, and were cut.
    """

    model: FunctionalModel
    parameters: Parameters
    vocabulary: Vocabulary
    mesh: Mesh
    attributes: AttributeFormat = SEPARATORS
    texts_cut: int = 0

    centered = True  # embeddings of a language model share a large direction, which searches take off

    def __post_init__(self) -> None:
        def embed(parameters: Parameters, batch: dict[str, Any]) -> Any:
            return self.model.bind(parameters).embed(batch["inputs"], batch["segment_ids"])

        self._embed: Callable[..., Any] = jax.jit(embed)

    @property
    def width(self) -> int:
        return self.model.config.width

    @property
    def longest(self) -> int:
        """Most tokens of a text."""
        return self.model.config.max_length

    def embed(self, texts: Sequence[str], batch_size: int) -> Float[np.ndarray, "texts width"]:
        """Returns an embedding a text, in order.

        Texts of like length share a batch, and lengths are padded to powers of two, so that at most
        log2(max_length) programs are compiled.

        Args:
          texts: any number, as `attributes.text` or `serialize_text` write them.
          batch_size: texts a device call, divisible by the mesh's batch shards.
        """
        longest = self.longest
        sequences, cut = encode_texts(self.vocabulary, texts, longest)
        self.texts_cut += cut
        embeddings = np.zeros((len(texts), self.width), np.float32)
        with jax.set_mesh(self.mesh):
            for rows, batch in batches_by_length(sequences, batch_size, longest):
                embeddings[rows] = np.asarray(self._embed(self.parameters, global_batch(self.mesh, batch)))[: len(rows)]
        return embeddings

    def embed_query(self, query: str) -> Float[np.ndarray, " width"]:
        """Returns the embedding of a query, read as a product's title."""
        return self.embed([f"<title> {neutralize(query)}"], batch_shards(self.mesh))[0]
