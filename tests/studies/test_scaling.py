"""Scaling laws: known ones are found again, and their optimum is that of a search."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import check_grad, minimize_scalar

from m5jax.errors import UserError
from m5jax.studies.iso_flops import iso_flop_curves
from m5jax.studies.scaling import FLOPS, ScalingLaw, _Runs, fit, fit_with_intervals

# Approach 3 of arXiv 2203.15556, appendix D.3.
CHINCHILLA = ScalingLaw(1.69, 406.4, 0.34, 410.7, 0.28)
SIZES = np.repeat([2e6, 5e6, 1e7, 3e7, 1e8], 5)
TOKENS = np.tile([1e8, 3e8, 1e9, 3e9, 1e10], 5)


def noisy(seed):
    return CHINCHILLA.loss(SIZES, TOKENS) * np.exp(0.003 * np.random.default_rng(seed).standard_normal(len(SIZES)))


def test_a_law_is_found_again():
    found = fit(SIZES, TOKENS, CHINCHILLA.loss(SIZES, TOKENS))
    for name, value in vars(CHINCHILLA).items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-3), name


@settings(max_examples=5)
@given(st.floats(0.5, 3.0), st.floats(0.2, 0.8), st.floats(0.2, 0.8), st.floats(0.2, 3.0), st.floats(0.2, 3.0))
def test_the_losses_of_any_law_are_predicted(irreducible, alpha, beta, at_small_size, at_few_tokens):
    law = ScalingLaw(irreducible, at_small_size * 2e6**alpha, alpha, at_few_tokens * 1e8**beta, beta)
    found = fit(SIZES, TOKENS, law.loss(SIZES, TOKENS))
    assert found.loss(3e8, 3e10) == pytest.approx(law.loss(3e8, 3e10), rel=0.01)


def test_one_run_that_failed_hardly_moves_the_law():
    losses = CHINCHILLA.loss(SIZES, TOKENS)
    losses[7] *= 1.5
    assert fit(SIZES, TOKENS, losses).loss(1e9, 2e10) == pytest.approx(CHINCHILLA.loss(1e9, 2e10), rel=0.01)


def test_the_gradient_is_that_of_differences():
    runs = _Runs.of(SIZES, TOKENS, noisy(0))
    logs = np.log([0.5, 1.0, 1.0, 0.3, 0.4])
    gradient = runs.objective(logs)[1]
    assert check_grad(lambda x: runs.objective(x)[0], lambda x: runs.objective(x)[1], logs) < 1e-6 * abs(gradient).max()


@pytest.mark.parametrize("flops", [1e18, 1e21, 1e24])
def test_the_optimum_is_that_of_a_search(flops):
    def loss(log_size):
        return CHINCHILLA.loss(np.exp(log_size), flops / (FLOPS * np.exp(log_size)))

    searched = minimize_scalar(loss, bounds=(10, 35), method="bounded", options={"xatol": 1e-10})
    best = CHINCHILLA.best_for(flops)
    assert best.loss == pytest.approx(searched.fun, rel=1e-9)
    assert best.parameters == pytest.approx(np.exp(searched.x), rel=1e-3)
    assert best.parameters * best.tokens * FLOPS == pytest.approx(flops)


def test_intervals_hold_the_law_that_noise_was_added_to():
    fitted = fit_with_intervals(SIZES, TOKENS, noisy(1), samples=50)
    assert len(fitted.resampled) == 50
    low, high = fitted.interval(lambda law: law.loss(1e9, 2e10))
    assert low < CHINCHILLA.loss(1e9, 2e10) < high
    assert high - low < 0.2
    again = fit_with_intervals(SIZES, TOKENS, noisy(1), samples=50)
    assert again == fitted


def test_curves_of_a_budget_have_the_law_s_optimum():
    sizes = np.concatenate([np.geomspace(0.5, 2, 7) * CHINCHILLA.best_for(flops).parameters for flops in (1e18, 1e19)])
    tokens = np.repeat([1e18, 1e19], 7) / (FLOPS * sizes)
    order = np.random.default_rng(0).permutation(14)
    curves = iso_flop_curves(sizes[order], tokens[order], CHINCHILLA.loss(sizes, tokens)[order])
    assert [curve.flops for curve in curves] == pytest.approx([1e18, 1e19])
    for curve in curves:
        assert len(curve.rows) == 7
        assert curve.best.parameters == pytest.approx(CHINCHILLA.best_for(curve.flops).parameters, rel=0.05)
        assert curve.best.loss == pytest.approx(CHINCHILLA.best_for(curve.flops).loss, rel=1e-3)


def test_a_curve_without_a_lowest_point_has_no_best_size():
    sizes = np.array([1e6, 2e6, 4e6])
    (curve,) = iso_flop_curves(sizes, 1e15 / sizes, np.array([3.0, 3.2, 3.0]))
    assert curve.best is None


@pytest.mark.parametrize(
    ("sizes", "tokens", "losses", "says"),
    [
        (SIZES[:5], TOKENS[:5], np.ones(5), "5 runs of 1 sizes and 5 numbers of tokens do not fix"),
        (SIZES, TOKENS, np.zeros(25), "loss of a run: 0.0; allowed: above 0"),
        (SIZES, TOKENS, np.full(25, np.nan), "loss of a run: nan"),
        (SIZES, TOKENS, np.ones(3), "25 sizes, 25 numbers of tokens and 3 losses"),
    ],
)
def test_what_fixes_no_law_is_refused(sizes, tokens, losses, says):
    with pytest.raises(UserError, match=says):
        fit(sizes, tokens, losses)


def test_budgets_without_three_sizes_are_refused():
    with pytest.raises(UserError, match="no three of 25 runs"):
        iso_flop_curves(SIZES * np.linspace(1, 9, 25), TOKENS, np.ones(25), tolerance=0.001)
