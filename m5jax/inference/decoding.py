"""Token by token from a model that writes: greedy, sampled, or held to given sequences."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from m5jax.errors import UserError
from m5jax.models.decoding_cache import DecodingCache


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How the next token follows from its logits.

    Attributes:
      temperature: the logits are divided by it; 0 takes the likeliest token.
      top_k: only the likeliest so many; 0: all.
      top_p: only the likeliest whose probabilities sum to it, the one that passes it included (arXiv 1904.09751).
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature < float("inf"):
            raise UserError(f"the temperature is {self.temperature}; allowed: 0 and above")
        if self.top_k < 0:
            raise UserError(f"top_k is {self.top_k}; allowed: 0 and above")
        if not 0.0 < self.top_p <= 1.0:
            raise UserError(f"top_p is {self.top_p}; allowed: above 0, up to 1")

    def choose(self, logits: Float[Array, "batch vocab"], key: Key[Array, ""]) -> Int[Array, " batch"]:
        """Returns the next token of each row."""
        if self.temperature == 0.0:
            return jnp.argmax(logits, axis=-1)
        return jax.random.categorical(key, self.kept(logits / self.temperature))

    def kept(self, logits: Float[Array, "batch vocab"]) -> Float[Array, "batch vocab"]:
        """Returns the logits with -inf at the tokens that are out; a tie with the last that stays, stays."""
        if self.top_k:
            least = jax.lax.top_k(logits, min(self.top_k, logits.shape[-1]))[0][:, -1:]
            logits = jnp.where(logits < least, -jnp.inf, logits)
        if self.top_p < 1.0:
            ordered = -jnp.sort(-logits, axis=-1)
            probabilities = jax.nn.softmax(ordered, axis=-1)
            before = jnp.cumsum(probabilities, axis=-1) - probabilities
            least = jnp.min(jnp.where(before < self.top_p, ordered, jnp.inf), axis=-1, keepdims=True)
            logits = jnp.where(logits < least, -jnp.inf, logits)
        return logits


class Trie(NamedTuple):
    """Sequences that may be written. State 0 is the start; a state's children are its next tokens.

    Attributes:
      tokens: of the children, -1 where there are fewer.
      states: that they lead to.
    """

    tokens: Int[Array, "states children"]
    states: Int[Array, "states children"]

    @classmethod
    def of(cls, sequences: Sequence[Sequence[int]]) -> "Trie":
        """Returns the trie of sequences, each with its end token."""
        children: list[dict[int, int]] = [{}]
        for sequence in sequences:
            state = 0
            for token in sequence:
                if token not in children[state]:
                    children[state][token] = len(children)
                    children.append({})
                state = children[state][token]
        widest = max(1, *map(len, children))
        tokens, states = np.full((len(children), widest), -1, np.int32), np.zeros((len(children), widest), np.int32)
        for state, own in enumerate(children):
            tokens[state, : len(own)], states[state, : len(own)] = list(own), list(own.values())
        return cls(jnp.asarray(tokens), jnp.asarray(states))

    def allowed(self, state: Int[Array, " batch"], vocab: int) -> Bool[Array, "batch vocab"]:
        """Returns which tokens may follow in each row's state."""
        rows = jnp.arange(len(state))[:, None]
        # Missing children go beyond the end, where they are dropped.
        tokens = jnp.where(self.tokens[state] < 0, vocab, self.tokens[state])
        return jnp.zeros((len(state), vocab), bool).at[rows, tokens].set(True, mode="drop")

    def follow(self, state: Int[Array, " batch"], token: Int[Array, " batch"]) -> Int[Array, " batch"]:
        """Returns the state after a token that is allowed."""
        found = self.tokens[state] == token[:, None]
        return jnp.sum(jnp.where(found, self.states[state], 0), axis=-1)


def allowed_next(
    allowed: Bool[Array, " vocab"], trie: Trie | None, state: Int[Array, " batch"]
) -> Bool[Array, "#batch vocab"]:
    """Returns which tokens may come next in each row, held to a trie or not."""
    return allowed[None] if trie is None else trie.allowed(state, len(allowed)) & allowed


def follow(trie: Trie | None, state: Int[Array, " batch"], token: Int[Array, " batch"]) -> Int[Array, " batch"]:
    """Returns each row's state after a token; without a trie it says nothing and stays."""
    return state if trie is None else trie.follow(state, token)


class _Written(NamedTuple):
    position: Int[Array, ""]
    tokens: Int[Array, "batch length"]
    last: Int[Array, " batch"]
    finished: Bool[Array, " batch"]
    state: Int[Array, " batch"]
    cache: DecodingCache


def write(
    module: Any,
    inputs: Int[Array, "batch inputs"],
    segment_ids: Int[Array, "batch inputs"],
    length: int,
    eos_id: int,
    allowed: Bool[Array, " vocab"],
    key: Key[Array, ""],
    sampling: Sampling,
    trie: Trie | None = None,
) -> Int[Array, "batch length"]:
    """Returns the tokens written for each row up to its end token, 0 after it. Stops when all rows have ended.

    Args:
      module: an encoder-decoder or a decoder.
      inputs: token ids, one example a row, 0 after them.
      segment_ids: 1 for tokens, 0 for padding.
      length: the most tokens to write.
      eos_id: the end token.
      allowed: ids that may be written.
      key: of the sampling.
      sampling: how tokens are chosen.
      trie: holds each row to these sequences.
    """
    rows = len(inputs)

    def goes_on(written: _Written) -> Bool[Array, ""]:
        return (written.position < length) & ~jnp.all(written.finished)

    def write_next(written: _Written) -> _Written:
        logits, cache = module.step(written.last, written.position, written.cache)
        may = allowed_next(allowed, trie, written.state)
        chosen = sampling.choose(jnp.where(may, logits, -jnp.inf), jax.random.fold_in(key, written.position))
        chosen = jnp.where(written.finished, 0, chosen).astype(jnp.int32)
        return _Written(
            position=written.position + 1,
            tokens=jax.lax.dynamic_update_index_in_dim(written.tokens, chosen, written.position, axis=1),
            last=chosen,
            finished=written.finished | (chosen == eos_id),
            state=follow(trie, written.state, chosen),
            cache=cache,
        )

    first, cache = module.start(inputs, segment_ids, length)
    begun = _Written(
        position=jnp.array(0),
        tokens=jnp.zeros((rows, length), jnp.int32),
        last=first,
        # Rows that only fill up a batch have nothing to say.
        finished=~jnp.any(segment_ids > 0, axis=1),
        state=jnp.zeros(rows, jnp.int32),
        cache=cache,
    )
    return jax.lax.while_loop(goes_on, write_next, begun).tokens
