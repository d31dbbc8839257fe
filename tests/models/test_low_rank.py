import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from m5jax.errors import UserError
from m5jax.models import FunctionalModel, LowRankAdapters
from m5jax.models.low_rank import ADAPTERS, ATTENTION_TARGETS, MLP_TARGETS, merge_adapters
from tests.models import tiny

TARGETS = ATTENTION_TARGETS + MLP_TARGETS
SETTINGS = LowRankAdapters(rank=3, alpha=2.5, targets=TARGETS)
ROWS = tiny.row_of(tiny.segments_of([7, 4]), 16)
TARGET_ROWS = tiny.row_of(tiny.segments_of([3, 5], seed=1), 12)
# Groups of query heads, so that kernels of keys and values are narrower than those of queries.
KINDS = {
    "encoder": (functools.partial(tiny.encoder_config, kv_heads=1), ROWS),
    "encoder-decoder": (tiny.encoder_decoder_config, (*ROWS, *TARGET_ROWS)),
    "decoder": (tiny.decoder_config, ROWS),
}


@functools.cache
def states_of(kind, adapters):
    """Returns from parameters to states, compiled."""
    config, rows = KINDS[kind]
    model = FunctionalModel.from_config(config(adapters=adapters))
    return jax.jit(lambda parameters: model.bind(parameters)(*rows))


def drawn(kind, settings, targets=()):
    """Returns parameters in which of the adapters those of `targets` are random and the others are as at first."""
    random = np.random.default_rng(0)

    def draw(path, leaf):
        names = [key.key for key in path]
        if ADAPTERS in names and names[-1] == "up" and names[-2] not in targets:
            return np.zeros(leaf.shape, np.float32)
        return random.normal(0, 0.3, leaf.shape).astype(np.float32)

    abstract = FunctionalModel.from_config(KINDS[kind][0](adapters=settings)).abstract_parameters
    return jax.tree_util.tree_map_with_path(draw, abstract)


def without_adapters(tree):
    if not isinstance(tree, dict):
        return tree
    return {name: without_adapters(value) for name, value in tree.items() if name != ADAPTERS}


def adapted_kernels(tree):
    """Yields the name of each kernel that has an adapter."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from value if name == ADAPTERS else adapted_kernels(value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_with_adapters_at_first_equals_the_one_without(kind):
    parameters = drawn(kind, SETTINGS)
    assert set(adapted_kernels(parameters)) == set(TARGETS)
    got = states_of(kind, SETTINGS)(parameters)
    np.testing.assert_array_equal(got, states_of(kind, None)(without_adapters(parameters)))


@pytest.mark.parametrize(
    ("kind", "targets"), [*((kind, TARGETS) for kind in KINDS), *(("encoder", (target,)) for target in TARGETS)]
)
def test_adapters_give_what_merged_kernels_give(kind, targets):
    parameters = drawn(kind, SETTINGS, targets)
    merged, base = merge_adapters(parameters, SETTINGS), without_adapters(parameters)
    assert jax.tree.structure(merged) == jax.tree.structure(base)
    got = states_of(kind, SETTINGS)(parameters)
    np.testing.assert_allclose(got, states_of(kind, None)(merged), atol=1e-5)
    assert np.abs(got - states_of(kind, None)(base)).max() > 1e-2  # every target counts


@pytest.mark.parametrize("targets", [("query",), ("value", "down"), TARGETS])
def test_only_targets_have_adapters(targets):
    model = FunctionalModel.from_config(tiny.encoder_config(adapters=LowRankAdapters(targets=targets)))
    assert sorted(adapted_kernels(model.abstract_parameters)) == sorted(targets)


@pytest.mark.parametrize("target", ["query", "key", "output", "down"])
def test_a_merged_kernel_is_the_sum_of_rank_one_products(target):
    parameters = drawn("encoder", SETTINGS, (target,))
    part = "attention" if target in ATTENTION_TARGETS else "mlp"
    before, after = (tree["layers"][part] for tree in (parameters, merge_adapters(parameters, SETTINGS)))
    factors = before[ADAPTERS][target]
    for layer in range(3):
        expected = before[target][layer].astype(np.float64)
        for rank in range(3):
            expected += 2.5 / 3 * np.multiply.outer(factors["down"][layer][..., rank], factors["up"][layer][rank])
        np.testing.assert_allclose(after[target][layer], expected, atol=1e-6)


def test_adapters_of_each_layer_are_drawn_by_themselves_by_the_size_of_what_they_multiply():
    settings = LowRankAdapters(rank=8, targets=("query", "output"))
    model = FunctionalModel.from_config(tiny.encoder_config(width=256, heads=4, adapters=settings))
    adapters = jax.jit(model.init)(jax.random.key(0))["layers"]["attention"][ADAPTERS]
    for name, shape in {"query": (3, 256, 8), "output": (3, 4, 64, 8)}.items():
        down = np.array(adapters[name]["down"])
        assert down.shape == shape
        assert down.std() == pytest.approx(256**-0.5, rel=0.05)
        assert np.abs(down[0] - down[1]).max() > 0.01
        assert not np.any(adapters[name]["up"])


def test_adapters_are_split_as_their_kernels_are():
    model = FunctionalModel.from_config(tiny.encoder_config(adapters=LowRankAdapters(targets=("query", "output"))))
    axes = model.logical_axes["layers"]["attention"][ADAPTERS]
    assert axes["query"] == {"down": ("layers", "embed", "rank"), "up": ("layers", "rank", "heads", "head_dim")}
    assert axes["output"] == {"down": ("layers", "heads", "head_dim", "rank"), "up": ("layers", "rank", "embed")}


def test_products_with_adapters_are_in_the_type_of_the_model():
    settings = LowRankAdapters(rank=2, targets=TARGETS)
    model = FunctionalModel.from_config(tiny.encoder_config(dtype="bfloat16", adapters=settings))
    states = jax.eval_shape(lambda parameters: model.bind(parameters)(*ROWS), model.abstract_parameters)
    assert states.dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rank": 0}, r"LowRankAdapters.rank = 0; allowed: 1 and above"),
        ({"alpha": 0.0}, r"LowRankAdapters.alpha = 0.0; allowed: above 0"),
        ({"alpha": float("nan")}, r"alpha = nan"),
        ({"alpha": float("inf")}, r"alpha = inf"),
        ({"targets": ()}, r"targets is empty; allowed: query, key, value, output, up, gate, down"),
        ({"targets": ("query", "valu")}, r"unknown LowRankAdapters.targets 'valu'; did you mean value"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        LowRankAdapters(**changes)
