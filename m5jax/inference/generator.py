"""Texts to what a trained model writes of them."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from m5jax.data.vocabulary import Vocabulary
from m5jax.errors import UserError
from m5jax.inference.beam_search import Beams, search
from m5jax.inference.decoding import Sampling, Trie, write
from m5jax.inference.text_batches import batches_by_length, encode_texts
from m5jax.models import FunctionalModel, Parameters
from partitioning import check_batch, global_batch


@dataclasses.dataclass
class Generator:
    """A model bound to its parameters and vocabulary, on a mesh.

    Attributes:
      inputs_length: the most tokens of a text; what is more is cut, at its end, or with `continues` at its start.
      length: the most tokens to write.
      strategy: how tokens are chosen.
      labels: texts that may be written; empty: any.
      continues: texts are the beginning of what is written, as in causal LM, not inputs with an end of their own.
      texts_cut: texts so far that were longer than `inputs_length`, and were cut.
    """

    model: FunctionalModel
    parameters: Parameters
    vocabulary: Vocabulary
    mesh: Mesh
    inputs_length: int
    length: int
    strategy: Sampling | Beams = Sampling()  # noqa: RUF009 (immutable)
    labels: Sequence[str] = ()
    continues: bool = False
    texts_cut: int = 0

    def __post_init__(self) -> None:
        if self.length < 1:
            raise UserError(f"the length to write is {self.length}; allowed: 1 and above")
        eos_id, trie = self.vocabulary.eos_id, self._trie()
        allowed = jnp.arange(self.model.config.vocab_size) < self.vocabulary.text_size

        def generate(parameters: Parameters, batch: dict[str, Any], key: Any) -> Any:
            module, inputs = self.model.bind(parameters), (batch["inputs"], batch["segment_ids"])
            if isinstance(self.strategy, Beams):
                return search(module, *inputs, self.length, eos_id, allowed, self.strategy, trie)
            return write(module, *inputs, self.length, eos_id, allowed, key, self.strategy, trie)

        everywhere = NamedSharding(self.mesh, PartitionSpec())
        self._generate: Callable[..., Any] = jax.jit(generate, out_shardings=everywhere)

    def generate(self, texts: Sequence[str], batch_size: int, seed: int = 0) -> list[str]:
        """Returns what is written of each text, in order.

        Args:
          texts: any number, as the model's tasks write their inputs.
          batch_size: texts a device call, divisible by the mesh's batch shards.
          seed: of the sampling.
        """
        check_batch(self.mesh, batch_size)
        sequences, cut = encode_texts(self.vocabulary, texts, self.inputs_length, self.continues)
        self.texts_cut += cut
        answers = [""] * len(texts)
        with jax.set_mesh(self.mesh):
            for number, (rows, batch) in enumerate(batches_by_length(sequences, batch_size, self.inputs_length)):
                key = jax.random.fold_in(jax.random.key(seed), number)
                tokens = np.asarray(self._generate(self.parameters, global_batch(self.mesh, batch), key))
                for row, own in zip(rows, tokens.tolist(), strict=False):  # the last batch is filled up
                    answers[row] = self._text(own)
        return answers

    def _text(self, tokens: list[int]) -> str:
        eos_id = self.vocabulary.eos_id
        return self.vocabulary.decode(tokens[: tokens.index(eos_id)] if eos_id in tokens else tokens)

    def _trie(self) -> Trie | None:
        if not self.labels:
            return None
        encoded = [[*tokens, self.vocabulary.eos_id] for tokens in self.vocabulary.encode(self.labels)]
        longest = max(range(len(encoded)), key=lambda index: len(encoded[index]))
        if len(encoded[longest]) > self.length:
            raise UserError(
                f"the label {self.labels[longest]!r} has {len(encoded[longest])} tokens with its end, more than the "
                f"length to write, {self.length}"
            )
        return Trie.of(encoded)
