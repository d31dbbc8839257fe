"""Texts to embeddings with a trained encoder."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int

from m5jax.data.attributes import SEPARATORS, AttributeFormat
from m5jax.data.serialize import neutralize
from m5jax.data.vocabulary import Vocabulary
from m5jax.models import FunctionalModel, Parameters
from partitioning import batch_shards, global_batch

SHORTEST_BUCKET = 16


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

    def __post_init__(self) -> None:
        def embed(parameters: Parameters, batch: dict[str, Any]) -> Any:
            return self.model.bind(parameters).embed(batch["inputs"], batch["segment_ids"])

        self._embed: Callable[..., Any] = jax.jit(embed)

    @property
    def width(self) -> int:
        return self.model.config.width

    def embed(self, texts: Sequence[str], batch_size: int) -> Float[np.ndarray, "texts width"]:
        """Returns an embedding a text, in order.

        Texts of like length share a batch, and lengths are padded to powers of two, so that at most
        log2(max_length) programs are compiled.

        Args:
          texts: any number, as `attributes.text` or `serialize_text` write them.
          batch_size: texts a device call, divisible by the mesh's batch shards.
        """
        sequences = [self._tokens(text) for text in texts]
        by_length = sorted(range(len(sequences)), key=lambda index: len(sequences[index]))
        embeddings = np.zeros((len(texts), self.width), np.float32)
        with jax.set_mesh(self.mesh):
            for start in range(0, len(by_length), batch_size):
                rows = by_length[start : start + batch_size]
                inputs = self._padded([sequences[row] for row in rows], batch_size)
                batch = {"inputs": inputs, "segment_ids": (inputs > 0).astype(np.int32)}
                embeddings[rows] = np.asarray(self._embed(self.parameters, global_batch(self.mesh, batch)))[: len(rows)]
        return embeddings

    def embed_query(self, query: str) -> Float[np.ndarray, " width"]:
        """Returns the embedding of a query, read as a product's title."""
        return self.embed([f"<title> {neutralize(query)}"], batch_shards(self.mesh))[0]

    def _tokens(self, text: str) -> list[int]:
        tokens = self.vocabulary.encode([text])[0]
        longest = self.model.config.max_length - 1
        self.texts_cut += len(tokens) > longest
        return [*tokens[:longest], self.vocabulary.eos_id]

    def _padded(self, sequences: Sequence[Sequence[int]], rows: int) -> Int[np.ndarray, "rows length"]:
        longest = max(map(len, sequences))
        bucket = SHORTEST_BUCKET
        while bucket < longest:
            bucket *= 2
        inputs = np.zeros((rows, min(bucket, self.model.config.max_length)), np.int32)
        for row, sequence in enumerate(sequences):
            inputs[row, : len(sequence)] = sequence
        return inputs
