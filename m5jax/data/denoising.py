"""Denoising objectives over token ids: a text becomes inputs to read and targets to write. Pure numpy.

A denoiser is called with a text, int32 [n] without the end token and n >= 2, and a generator; it returns inputs and
targets, to both of which the end token is appended later. `longest_text` says how much text fits given lengths, so that
nothing is ever cut off after the corruption.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from jaxtyping import Int

from m5jax.data.spans import random_spans, round_at_random
from m5jax.data.vocabulary import MODE_IDS, SENTINEL_IDS
from m5jax.errors import UserError, unknown_name

Tokens = Int[np.ndarray, " tokens"]
SHORTEST_TEXT = 2
_END = 1  # the end token of inputs and of targets


class Denoiser(Protocol):
    """See the module; hashable."""

    def __call__(self, text: Tokens, generator: np.random.Generator) -> tuple[Tokens, Tokens]: ...

    def longest_text(self, inputs_length: int, targets_length: int) -> int: ...

    def __hash__(self) -> int: ...


@dataclasses.dataclass(frozen=True)
class SpanCorruption:
    """Spans become sentinels, and the targets say what stood there (T5, arXiv 1910.10683, section 3.1.4).

    Attributes:
        noise_density: share of the tokens that is hidden, in expectation.
        mean_span_length: hidden tokens a span, in expectation; spans are at most as many as there are sentinels.
        mode: name of the mode token before the inputs, or "".

    Raises:
        UserError: the density is not between 0 and 1, the length below 1, or the mode unknown.
    """

    noise_density: float = 0.15
    mean_span_length: float = 3.0
    mode: str = ""

    def __post_init__(self) -> None:
        if not 0.0 < self.noise_density < 1.0 or self.mean_span_length < 1.0:
            raise UserError(
                f"SpanCorruption: noise_density = {self.noise_density} must lie between 0 and 1, "
                f"mean_span_length = {self.mean_span_length} be 1 or more"
            )
        _check_mode(self.mode)

    def __call__(self, text: Tokens, generator: np.random.Generator) -> tuple[Tokens, Tokens]:
        hidden = corrupted_spans(len(text), self.noise_density, self.mean_span_length, generator)
        return _with_mode(self.mode, keep_with_sentinels(text, hidden)), keep_with_sentinels(text, ~hidden)

    def longest_text(self, inputs_length: int, targets_length: int) -> int:
        def fits(length: int) -> bool:
            noise = min(max(int(self.noise_density * length) + 1, 1), length - 1)
            spans = min(int(noise / self.mean_span_length) + 1, len(SENTINEL_IDS))
            kept = length - max(min(int(self.noise_density * length), length - 1), 1)
            return kept + spans + bool(self.mode) + _END <= inputs_length and noise + spans + _END <= targets_length

        return _longest(fits, inputs_length + targets_length)


@dataclasses.dataclass(frozen=True)
class PrefixSplit:
    """The model reads a prefix and continues it (prefix LM, arXiv 1910.10683, section 3.2.3).

    Attributes:
        shortest, longest: the share of the text in the prefix is uniform between them; at least one token stands on
            each side.
        mode: name of the mode token before the inputs, or "".

    Raises:
        UserError: the shares are not 0 <= shortest <= longest <= 1, or the mode is unknown.
    """

    shortest: float = 0.0
    longest: float = 1.0
    mode: str = ""

    def __post_init__(self) -> None:
        if not 0.0 <= self.shortest <= self.longest <= 1.0:
            raise UserError(
                f"PrefixSplit: shortest = {self.shortest}, longest = {self.longest}; "
                "allowed: 0 <= shortest <= longest <= 1"
            )
        _check_mode(self.mode)

    def __call__(self, text: Tokens, generator: np.random.Generator) -> tuple[Tokens, Tokens]:
        share = generator.uniform(self.shortest, self.longest)
        prefix = min(max(round_at_random(share * len(text), generator), 1), len(text) - 1)
        return _with_mode(self.mode, text[:prefix]), text[prefix:]

    def longest_text(self, inputs_length: int, targets_length: int) -> int:
        def fits(length: int) -> bool:
            prefix = min(max(int(self.longest * length) + 1, 1), length - 1)
            rest = length - min(max(int(self.shortest * length), 1), length - 1)
            return prefix + bool(self.mode) + _END <= inputs_length and rest + _END <= targets_length

        return _longest(fits, inputs_length + targets_length)


@dataclasses.dataclass(frozen=True)
class WholeText:
    """Nothing is read but the end token that comes before, and the whole text is written: causal LM.

    Pieces of long texts are texts of their own.
    """

    def __call__(self, text: Tokens, generator: np.random.Generator) -> tuple[Tokens, Tokens]:
        return text[:0], text

    def longest_text(self, inputs_length: int, targets_length: int) -> int:
        return _longest(lambda length: length + _END <= targets_length and inputs_length >= _END, targets_length)


@dataclasses.dataclass(frozen=True)
class SpanDropping:
    """Spans are left out without a trace; the targets are the whole text (AlexaTM 20B, arXiv 2208.01448, section 2).

    Attributes:
        noise_density: share of the tokens that is left out, in expectation.
        mean_span_length: tokens a span, in expectation.

    Raises:
        UserError: the density is not between 0 and 1, or the length below 1.
    """

    noise_density: float = 0.15
    mean_span_length: float = 3.0

    def __post_init__(self) -> None:
        if not 0.0 < self.noise_density < 1.0 or self.mean_span_length < 1.0:
            raise UserError(
                f"SpanDropping: noise_density = {self.noise_density} must lie between 0 and 1, "
                f"mean_span_length = {self.mean_span_length} be 1 or more"
            )

    def __call__(self, text: Tokens, generator: np.random.Generator) -> tuple[Tokens, Tokens]:
        return text[~corrupted_spans(len(text), self.noise_density, self.mean_span_length, generator)], text

    def longest_text(self, inputs_length: int, targets_length: int) -> int:
        def fits(length: int) -> bool:
            kept = length - max(int(self.noise_density * length), 1)
            return kept + _END <= inputs_length and length + _END <= targets_length

        return _longest(fits, targets_length)


@dataclasses.dataclass(frozen=True)
class DenoiserMixture:
    """One of several denoisers for each piece of text.

    Attributes:
        denoisers: to choose from.
        rates: how often each is chosen, relative to the others.

    Raises:
        UserError: there are not as many rates as denoisers, or they are negative or all zero.
    """

    denoisers: tuple[Denoiser, ...]
    rates: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.denoisers) != len(self.rates) or min(self.rates, default=0) < 0 or not sum(self.rates) > 0:
            raise UserError(f"DenoiserMixture: {len(self.denoisers)} denoisers with rates {self.rates}")


def denoise_text(
    text: Tokens,
    mixture: DenoiserMixture,
    inputs_length: int,
    targets_length: int,
    generator: np.random.Generator,
) -> Iterator[tuple[Tokens, Tokens]]:
    """Yields inputs and targets, without end tokens, of consecutive pieces of a text of any length.

    Each piece is as long as its denoiser fits into the lengths, which count the end tokens; a rest of one token is left
    out.
    """
    chances = np.cumsum(mixture.rates) / np.sum(mixture.rates)
    start = 0
    while len(text) - start >= SHORTEST_TEXT:
        chosen = int(np.searchsorted(chances, generator.random(), side="right"))
        denoiser = mixture.denoisers[min(chosen, len(chances) - 1)]
        stop = start + _longest_text(denoiser, inputs_length, targets_length)
        yield denoiser(text[start:stop], generator)
        start = stop


def corrupted_spans(length: int, density: float, mean_span_length: float, generator: np.random.Generator) -> np.ndarray:
    """Returns a mask of `density * length` tokens, in expectation, in spans of `mean_span_length`, in expectation.

    At least one token is hidden and one is kept, and spans are at most as many as there are sentinels.
    """
    noise = min(max(round_at_random(density * length, generator), 1), length - 1)
    spans = round_at_random(noise / mean_span_length, generator)
    spans = min(max(spans, 1), noise, length - noise, len(SENTINEL_IDS))
    return random_spans(length, noise, spans, generator)


def keep_with_sentinels(text: Tokens, hidden: np.ndarray) -> Tokens:
    """Returns `text` with a sentinel, counted up, in place of each run of hidden tokens."""
    starts = hidden & ~np.concatenate([[False], hidden[:-1]])
    sentinels = np.array(SENTINEL_IDS, text.dtype)[np.maximum(np.cumsum(starts) - 1, 0)]
    return np.where(hidden, sentinels, text)[starts | ~hidden]


def _with_mode(mode: str, tokens: Tokens) -> Tokens:
    return np.concatenate([[MODE_IDS[mode]], tokens]).astype(tokens.dtype) if mode else tokens


def _check_mode(mode: str) -> None:
    if mode and mode not in MODE_IDS:
        raise unknown_name("mode token", mode, MODE_IDS)


@functools.cache
def _longest_text(denoiser: Denoiser, inputs_length: int, targets_length: int) -> int:
    return denoiser.longest_text(inputs_length, targets_length)


def _longest(fits: Callable[[int], bool], bound: int) -> int:
    """Returns the largest length up to `bound` that fits."""
    for length in range(bound, SHORTEST_TEXT - 1, -1):
        if fits(length):
            return length
    raise UserError("the lengths of inputs and targets leave no room for a text of two tokens; raise them")


# The seven of UL2 (arXiv 2205.05131, table 1), all alike: R, S and X, with their mode tokens.
UL2 = DenoiserMixture(
    denoisers=(
        SpanCorruption(0.15, 3.0, mode="<regular>"),
        SpanCorruption(0.15, 8.0, mode="<regular>"),
        PrefixSplit(0.75, 0.75, mode="<sequential>"),
        SpanCorruption(0.5, 3.0, mode="<extreme>"),
        SpanCorruption(0.5, 8.0, mode="<extreme>"),
        SpanCorruption(0.15, 64.0, mode="<extreme>"),
        SpanCorruption(0.5, 64.0, mode="<extreme>"),
    ),
    rates=(1.0,) * 7,
)
# Dropped spans, and for a fifth of the texts a continuation of their first 20% to 80%.
ALEXATM = DenoiserMixture(denoisers=(SpanDropping(), PrefixSplit(0.2, 0.8, mode="<causal>")), rates=(0.8, 0.2))
