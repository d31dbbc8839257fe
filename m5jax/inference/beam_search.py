"""The likeliest sequences, found by keeping a few at a time."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from m5jax.errors import UserError
from m5jax.inference.decoding import Trie, allowed_next, follow
from m5jax.models.decoding_cache import DecodingCache

_MOST_PENALTY = 10.0


@dataclasses.dataclass(frozen=True)
class Beams:
    """How sequences are searched for.

    Attributes:
      size: sequences of each row that are kept at a time; 1 is greedy decoding.
      length_penalty: a sequence is ranked by its log-probability over its length, with the end token, to this power: 0
        ranks by probability, which favours short ones.
    """

    size: int = 4
    length_penalty: float = 1.0

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UserError(f"the number of beams is {self.size}; allowed: 1 and above")
        if not 0.0 <= self.length_penalty <= _MOST_PENALTY:
            raise UserError(f"the length penalty is {self.length_penalty}; allowed: 0 to {_MOST_PENALTY:g}")


class _Sequences(NamedTuple):
    """The best sequences of each row, best first; -inf where there is none."""

    tokens: Int[Array, "batch beams length"]
    scores: Float[Array, "batch beams"]


class _Search(NamedTuple):
    position: Int[Array, ""]
    running: _Sequences  # scores are log-probabilities
    states: Int[Array, "batch beams"]
    ended: _Sequences  # scores are what ranks them
    last: Int[Array, " rows"]
    cache: DecodingCache


def search(
    module: Any,
    inputs: Int[Array, "batch inputs"],
    segment_ids: Int[Array, "batch inputs"],
    length: int,
    eos_id: int,
    allowed: Bool[Array, " vocab"],
    beams: Beams,
    trie: Trie | None = None,
) -> Int[Array, "batch length"]:
    """Returns the best sequence found for each row up to its end token, 0 after it.

    Of twice as many continuations as beams, those that end join the best ended ones where they are among the first so
    many, and the others run on, until no running one of any row can become better than the worst ended one that is
    kept (transformers' `early_stopping="never"`; T5X, `decoding.py::beam_search`). At `length` all end.

    Args:
      module, inputs, segment_ids, length, eos_id, allowed, trie: as in `decoding.write`.
      beams: how many, and what ranks them.
    """
    rows, count = len(inputs), beams.size
    first, cache = module.start(inputs, segment_ids, length)
    none = _Sequences(jnp.zeros((rows, count, length), jnp.int32), jnp.full((rows, count), -jnp.inf))
    # All beams of a row are alike at first; rows that only fill up a batch have nothing to say.
    begins = (jnp.arange(count) == 0) & jnp.any(segment_ids > 0, axis=1)[:, None]
    begun = _Search(
        position=jnp.array(0),
        running=none._replace(scores=jnp.where(begins, 0.0, -jnp.inf)),
        states=jnp.zeros((rows, count), jnp.int32),
        ended=none,
        last=jnp.repeat(first, count),
        cache=cache.repeat(count),
    )

    def goes_on(search: _Search) -> Bool[Array, ""]:
        # Scores only fall, and divided by the longest length they fall least.
        best = search.running.scores[:, 0] / length**beams.length_penalty
        return (search.position < length) & jnp.any(best > search.ended.scores[:, -1])

    def advance(search: _Search) -> _Search:
        logits, cache = module.step(search.last, search.position, search.cache)
        may = allowed_next(allowed, trie, search.states.reshape(-1))
        steps = jnp.where(may, jax.nn.log_softmax(logits), -jnp.inf).reshape(rows, count, -1)
        return _advanced(search._replace(cache=cache), steps, eos_id, beams, trie)

    return jax.lax.while_loop(goes_on, advance, begun).ended.tokens[:, 0]


def _advanced(
    search: _Search, steps: Float[Array, "batch beams vocab"], eos_id: int, beams: Beams, trie: Trie | None
) -> _Search:
    """Returns the search with a token more, given the log-probability of each."""
    (rows, count, vocab), length = steps.shape, search.running.tokens.shape[-1]
    scores, chosen = jax.lax.top_k((search.running.scores[..., None] + steps).reshape(rows, -1), 2 * count)
    beam, token = chosen // vocab, (chosen % vocab).astype(jnp.int32)
    tokens = _take(search.running.tokens, beam).at[:, :, search.position].set(token)
    new_length = search.position + 1
    ends = (token == eos_id) | (new_length == length)

    counted = jnp.where(ends & (jnp.arange(2 * count) < count), scores, -jnp.inf)
    counted = counted / new_length**beams.length_penalty
    ranked, kept = jax.lax.top_k(jnp.concatenate([search.ended.scores, counted], axis=1), count)
    ended = _Sequences(_take(jnp.concatenate([search.ended.tokens, tokens], axis=1), kept), ranked)

    scores, going = jax.lax.top_k(jnp.where(ends, -jnp.inf, scores), count)
    beam, last = _take(beam, going), _take(token, going).reshape(-1)
    states = follow(trie, _take(search.states, beam).reshape(-1), last)
    return _Search(
        position=new_length,
        running=_Sequences(_take(tokens, going), scores),
        states=states.reshape(rows, count),
        ended=ended,
        last=last,
        cache=search.cache.take(beam),
    )


def _take(x: Array, places: Int[Array, "batch count"]) -> Array:
    """Returns entries of each row's second axis."""
    return jnp.take_along_axis(x, places.reshape(*places.shape, *(1,) * (x.ndim - 2)), axis=1)
