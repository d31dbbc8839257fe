import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from m5jax.models import FunctionalModel
from m5jax.models.layers import GatedMlp, gelu
from m5jax.models.stack import REMAT_POLICIES, scan_layers, stack_layers
from m5jax.objectives import LanguageModel, SequenceToSequence
from tests.models.tiny import decoder_config, encoder_config, encoder_decoder_config

LAYERS, WIDTH = 3, 6


def make_layer(rngs):
    return GatedMlp(WIDTH, 8, gelu, jnp.dtype("float32"), rngs, output_stddev=0.3)


def apply(layer, x, extra):
    return x + extra * layer(x)


@pytest.fixture
def stacked():
    return stack_layers(make_layer, LAYERS, nnx.Rngs(params=0))


@pytest.fixture
def x():
    return jax.random.normal(jax.random.key(1), (2, 4, WIDTH))


def test_a_stack_holds_layers_drawn_independently(stacked):
    up = np.asarray(stacked.up[...])
    assert up.shape == (LAYERS, WIDTH, 8)
    assert stacked.up.logical_axes == ("layers", "embed", "mlp")
    assert not np.allclose(up[0], up[1])


@pytest.mark.parametrize("remat", [*sorted(REMAT_POLICIES), ("none", "full", "dots")])
def test_scan_equals_a_python_loop(stacked, x, remat):
    extras = jnp.arange(1.0, LAYERS + 1)
    graphdef, state = nnx.split(stacked)
    expected = x
    for index in range(LAYERS):
        layer = nnx.merge(graphdef, jax.tree.map(lambda leaf, i=index: leaf[i], state))
        expected = apply(layer, expected, extras[index])
    np.testing.assert_allclose(scan_layers(stacked, x, apply, extras, remat), expected, atol=1e-5)


@pytest.mark.parametrize("make", [encoder_config, encoder_decoder_config, decoder_config])
def test_a_program_is_as_large_with_96_layers_as_with_24(make):
    def size(depth):
        layers = ("encoder_layers", "decoder_layers") if make is encoder_decoder_config else ("layers",)
        model, tokens = (
            FunctionalModel.from_config(make(**dict.fromkeys(layers, depth))),
            jax.ShapeDtypeStruct((2, 16), jnp.int32),
        )
        objective = SequenceToSequence() if make is encoder_decoder_config else LanguageModel()
        names = ("segment_ids", "positions", "predicted_positions", "target_segment_ids", "target_positions")
        batch = dict.fromkeys(("inputs", "targets", *names), tokens)
        batch["loss_weights"] = jax.ShapeDtypeStruct((2, 16), jnp.float32)

        def loss(parameters, batch):
            return objective(model.bind(parameters), batch, None)[0].total

        return len(jax.jit(jax.grad(loss)).lower(model.abstract_parameters, batch).as_text())

    assert size(96) == pytest.approx(size(24), rel=0.02)


@pytest.mark.parametrize("remat", [*sorted(set(REMAT_POLICIES) - {"none"}), ("none", "full", "dots")])
def test_what_is_recomputed_does_not_change_gradients(stacked, x, remat):
    graphdef, state = nnx.split(stacked)

    def loss(state, policy):
        return jnp.sum(jnp.sin(scan_layers(nnx.merge(graphdef, state), x, apply, jnp.ones(LAYERS), policy)))

    expected, actual = jax.grad(loss)(state, "none"), jax.grad(loss)(state, remat)
    for one, other in zip(jax.tree.leaves(expected), jax.tree.leaves(actual), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
