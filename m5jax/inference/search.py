"""Nearest neighbours among embeddings in a Parquet file, exact."""

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from m5jax.errors import UserError
from m5jax.inference.embed_file import CENTERED


@dataclasses.dataclass(frozen=True)
class Neighbor:
    """One hit; `similarity` is the cosine of centered embeddings, or the inner product of those of two towers."""

    similarity: float
    id: str
    language: str
    title: str


class EmbeddingIndex:
    """All embeddings of a file written by `m5jax embed`, in memory.

    Embeddings of a language model share a large common direction; subtracting the mean brings out what differs
    (arXiv 1702.01417, first step). Those of two towers are compared as they were trained.
    """

    def __init__(self, path: Path):
        """Raises UserError if the file is not one of embeddings."""
        try:
            table = pq.read_table(path, columns=["id", "language", "title", "embedding"])
        except (OSError, pa.ArrowException, KeyError) as error:
            raise UserError(
                f"{path} is no file of embeddings ({str(error).splitlines()[0]}); make one with m5jax embed"
            ) from error
        self.ids = table["id"].to_pylist()
        self.languages = table["language"].to_pylist()
        self.titles = table["title"].to_pylist()
        embeddings = np.stack(table["embedding"].to_numpy()) if self.ids else np.zeros((0, 1), np.float32)
        self._centered = (table.schema.metadata or {}).get(CENTERED, b"1") == b"1"
        self._mean = embeddings.mean(axis=0)
        self._unit = _unit(embeddings - self._mean) if self._centered else embeddings

    def nearest(self, embedding: Float[np.ndarray, " width"], top: int) -> list[Neighbor]:
        """Returns the `top` nearest, nearest first.

        Raises:
          UserError: the embedding is of another size.
        """
        if embedding.shape != self._mean.shape:
            raise UserError(
                f"the query's embedding has {embedding.size} values, the file's {self._mean.size}: not of one run"
            )
        similarities = self._unit @ (_unit(embedding - self._mean) if self._centered else embedding)
        best = np.argsort(-similarities, kind="stable")[:top]
        return [Neighbor(float(similarities[i]), self.ids[i], self.languages[i], self.titles[i]) for i in best]


def _unit(x: Float[np.ndarray, "*batch width"]) -> Float[np.ndarray, "*batch width"]:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
