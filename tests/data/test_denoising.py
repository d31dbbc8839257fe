"""Denoisers: nothing of a text is lost, lengths are kept, and shares are those of the papers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from m5jax.data.denoising import (
    ALEXATM,
    UL2,
    Denoiser,
    DenoiserMixture,
    PrefixSplit,
    SpanCorruption,
    SpanDropping,
    WholeText,
    corrupted_spans,
    denoise_text,
)
from m5jax.data.vocabulary import MODE_IDS, SENTINEL_IDS
from m5jax.errors import UserError

LEAST_PROBABILITY = 1e-3
DENOISERS = (*UL2.denoisers, *ALEXATM.denoisers, SpanCorruption(), PrefixSplit(), WholeText())
SEEDS = st.integers(0, 2**32 - 1)


def text_of(length: int) -> np.ndarray:
    """Returns tokens that all differ, so that their order says where they come from."""
    return np.arange(1_000, 1_000 + length, dtype=np.int32)


def naive_restore(inputs: np.ndarray, targets: np.ndarray) -> list[int]:
    """Puts what stands behind each sentinel of the targets in its place in the inputs."""
    behind: dict[int, list[int]] = {}
    for token in targets.tolist():
        if token in SENTINEL_IDS:
            behind[token] = []
        else:
            behind[list(behind)[-1]].append(token)
    assert list(behind) == list(SENTINEL_IDS[: len(behind)])
    restored: list[int] = []
    for token in inputs.tolist():
        restored += behind.pop(token) if token in SENTINEL_IDS else [token]
    assert not behind
    return restored


def without_mode(denoiser: Denoiser, inputs: np.ndarray) -> np.ndarray:
    mode = getattr(denoiser, "mode", "")
    if mode:
        assert inputs[0] == MODE_IDS[mode]
        return inputs[1:]
    return inputs


@given(st.integers(2, 400), st.sampled_from(DENOISERS), SEEDS)
def test_the_text_can_be_told_from_inputs_and_targets(length: int, denoiser: Denoiser, seed: int) -> None:
    text = text_of(length)
    inputs, targets = denoiser(text, np.random.default_rng(seed))
    assert inputs.dtype == targets.dtype == np.int32
    inputs = without_mode(denoiser, inputs)
    if isinstance(denoiser, SpanCorruption):
        assert naive_restore(inputs, targets) == text.tolist()
    elif isinstance(denoiser, PrefixSplit):
        assert [*inputs, *targets] == text.tolist()
        assert len(inputs) * len(targets) > 0
    elif isinstance(denoiser, WholeText):
        assert [*inputs, None, *targets] == [None, *text.tolist()]
    else:
        assert targets.tolist() == text.tolist()
        assert 0 < len(inputs) < length
        assert np.isin(inputs, text).all()
        assert (np.diff(inputs) > 0).all()


@given(st.integers(2, 900), st.integers(8, 300), st.integers(8, 300), st.sampled_from(DENOISERS), SEEDS)
def test_pieces_fit_their_lengths_and_none_is_lost(
    length: int, inputs_length: int, targets_length: int, denoiser: Denoiser, seed: int
) -> None:
    text = text_of(length)
    mixture = DenoiserMixture((denoiser,), (1.0,))
    pieces = list(denoise_text(text, mixture, inputs_length, targets_length, np.random.default_rng(seed)))
    assert all(len(i) < inputs_length and len(t) < targets_length for i, t in pieces)
    seen = {int(token) for piece in pieces for side in piece for token in side if token >= 1_000}
    assert len(text) - len(seen) <= (1 if not isinstance(denoiser, SpanDropping) else length)
    longest = denoiser.longest_text(inputs_length, targets_length)
    # No room is wasted: a piece much longer would not fit.
    assert isinstance(denoiser, PrefixSplit) or any(
        len(i) + 3 > inputs_length or len(t) + 3 > targets_length
        for i, t in (denoiser(text_of(longest + 8), np.random.default_rng(k)) for k in range(20))
    )


@pytest.mark.parametrize(("density", "mean"), [(0.15, 3.0), (0.5, 8.0), (0.15, 64.0)])
def test_density_and_span_length_are_right_in_expectation(density: float, mean: float) -> None:
    generator = np.random.default_rng(0)
    masks = [corrupted_spans(517, density, mean, generator) for _ in range(4_000)]
    hidden = np.array([mask.sum() for mask in masks])
    spans = np.array([(mask & ~np.concatenate([[False], mask[:-1]])).sum() for mask in masks])
    assert hidden.mean() == pytest.approx(density * 517, abs=4 * 0.5 / np.sqrt(4_000))
    assert spans.mean() == pytest.approx(density * 517 / mean, abs=4 * 0.7 / np.sqrt(4_000))


def test_sentinels_do_not_run_out() -> None:
    _, targets = SpanCorruption(0.5, 1.0)(text_of(2_000), np.random.default_rng(0))
    assert set(SENTINEL_IDS) <= set(targets.tolist())
    assert np.isin(targets, [*SENTINEL_IDS, *text_of(2_000)]).all()


def test_a_mixture_draws_its_denoisers_at_their_rates() -> None:
    generator = np.random.default_rng(1)
    drawn = [next(iter(denoise_text(text_of(40), UL2, 64, 64, generator))) for _ in range(14_000)]
    modes = [int(inputs[0]) for inputs, _ in drawn]
    counts = [modes.count(MODE_IDS[mode]) for mode in ("<regular>", "<sequential>", "<extreme>")]
    assert stats.chisquare(counts, np.array([2, 1, 4]) * len(drawn) / 7).pvalue > LEAST_PROBABILITY
    causal = [next(iter(denoise_text(text_of(40), ALEXATM, 64, 64, generator)))[0][0] for _ in range(5_000)]
    assert stats.binomtest(causal.count(MODE_IDS["<causal>"]), len(causal), 0.2).pvalue > LEAST_PROBABILITY


def test_the_prefix_of_alexatm_is_a_fifth_to_four_fifths() -> None:
    generator = np.random.default_rng(2)
    shares = [len(PrefixSplit(0.2, 0.8)(text_of(1_000), generator)[0]) / 1_000 for _ in range(5_000)]
    assert stats.kstest(shares, stats.uniform(0.2, 0.6).cdf).pvalue > LEAST_PROBABILITY


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SpanCorruption(noise_density=1.0), "noise_density = 1.0"),
        (lambda: SpanCorruption(mean_span_length=0.5), "be 1 or more"),
        (lambda: SpanCorruption(mode="<regulr>"), "unknown mode token '<regulr>'; did you mean <regular>"),
        (lambda: PrefixSplit(0.9, 0.2), "0 <= shortest <= longest <= 1"),
        (lambda: SpanDropping(noise_density=0.0), "noise_density = 0.0"),
        (lambda: DenoiserMixture((SpanDropping(),), ()), "1 denoisers with rates"),
        (lambda: DenoiserMixture((SpanDropping(),), (0.0,)), "1 denoisers with rates"),
        (lambda: SpanCorruption().longest_text(2, 8), "leave no room"),
    ],
)
def test_impossible_denoisers_are_refused(make: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()  # type: ignore[operator]
