"""Texts to embeddings with the towers of a fine-tuned model."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from m5jax.data.attributes import AttributeFormat
from m5jax.data.serialize import neutralize
from m5jax.finetuning.rows import Padded, Tokenizer, encode_texts
from m5jax.finetuning.scoring import Scorer
from m5jax.models import FunctionalModel, Parameters
from partitioning import batch_shards


@dataclasses.dataclass
class TowerEmbedder:
    """Two towers bound to their parameters: records are right sides, queries left ones.

    Attributes:
      longest: most tokens of a text.
      attributes: how products are written.
      texts_cut: texts so far that were longer, and were cut.
    """

    model: FunctionalModel
    parameters: Parameters
    tokenizer: Tokenizer
    mesh: Mesh
    longest: int
    attributes: AttributeFormat
    texts_cut: int = 0
    _scorers: dict[int, Scorer] = dataclasses.field(default_factory=dict, repr=False)

    centered = False  # inner products are what the towers were trained for

    @property
    def width(self) -> int:
        return self.model.config.size

    def embed(self, texts: Sequence[str], batch_size: int) -> Float[np.ndarray, "texts size"]:
        """Returns the embedding of each text as a right side, in order; see `Embedder.embed`."""
        if not texts:
            return np.zeros((0, self.width), np.float32)
        return self._scorer(batch_size).embed(self.parameters, self._encoded(texts), right=True)

    def embed_query(self, query: str) -> Float[np.ndarray, " size"]:
        """Returns the embedding of a query as a left side, whose inner products with right ones are similarities."""
        scorer = self._scorer(batch_shards(self.mesh))
        left = scorer.embed(self.parameters, self._encoded([f"<title> {neutralize(query)}"]))
        return scorer.searchable(self.parameters, left)[0]

    def _scorer(self, batch_size: int) -> Scorer:
        """Returns what embeds so many at a time; its programs are compiled once."""
        if batch_size not in self._scorers:
            self._scorers[batch_size] = Scorer(self.model, self.mesh, batch_size)
        return self._scorers[batch_size]

    def _encoded(self, texts: Sequence[str]) -> Padded:
        sequences = encode_texts(texts, self.tokenizer, self.longest + 1)
        long = [place for place, tokens in enumerate(sequences) if len(tokens) > self.longest]
        cut = encode_texts([texts[place] for place in long], self.tokenizer, self.longest)
        for place, tokens in zip(long, cut, strict=True):
            sequences[place] = tokens
        self.texts_cut += len(long)
        return Padded.of(sequences)
