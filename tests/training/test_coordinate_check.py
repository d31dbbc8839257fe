"""Training moves wide models as far as narrow ones with the maximal-update parametrization, and farther without."""

import jax
import numpy as np
import pytest

from benchmarks.coordinate_check import HEADS, MODELS, growth, measure
from m5jax.errors import UserError
from m5jax.models import FunctionalModel, MaximalUpdate

WIDTHS = (32, 128)


def test_growth_is_the_power_of_the_width():
    assert growth(WIDTHS, [3.0 * width**0.7 for width in WIDTHS]) == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("model", "optimizer"),
    [
        ("encoder", "AdamW"),
        ("decoder", "AdamW"),
        ("encoder-decoder", "Adafactor"),
        ("encoder", "Adafactor, absolute steps"),
    ],
)
def test_maximal_updates_do_not_grow_with_the_width_as_standard_ones_do(model, optimizer):
    changes = measure(model, optimizer, WIDTHS, maximal=True, seed=0)
    assert abs(growth(WIDTHS, changes["states"])) < 0.1
    # Logits change less in wide models at first, by what is left of the drawn ones (arXiv 2203.03466, appendix D.2).
    assert -0.6 < growth(WIDTHS, changes["logits"]) < 0.1
    standard = measure(model, optimizer, WIDTHS, maximal=False, seed=0)
    assert min(growth(WIDTHS, sizes) for sizes in standard.values()) > 0.3


@pytest.mark.parametrize("model", MODELS)
def test_a_model_as_wide_as_its_base_is_the_standard_one(model):
    make, _, _ = MODELS[model]
    base, standard = (FunctionalModel.from_config(make(32, base)) for base in (MaximalUpdate(32, 32 // HEADS), None))
    assert base.width_multiple == 1.0
    jax.tree.map(np.testing.assert_array_equal, *(model.init(jax.random.key(0)) for model in (base, standard)))


@pytest.mark.parametrize("settings", [{"base_width": 0, "base_head_dim": 8}, {"base_width": 8, "base_head_dim": 0}])
def test_a_base_without_width_is_refused(settings):
    with pytest.raises(UserError, match="positive integers are needed"):
        MaximalUpdate(**settings)
