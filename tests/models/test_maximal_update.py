"""What of each model grows with the width, against arXiv 2203.03466, table 8 and definition 4.1."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from m5jax.models import DecoderConfig, EncoderConfig, EncoderDecoderConfig, FunctionalModel, MaximalUpdate, is_matrix

WIDTH, BASE, HEADS = 256, 64, 2
SHAPE = {"vocab_size": 512, "width": WIDTH, "heads": HEADS, "mlp_hidden": 2 * WIDTH}
MAXIMAL = MaximalUpdate(base_width=BASE, base_head_dim=BASE // HEADS)
LAYERS = {"encoder_layers": 2, "decoder_layers": 2}
MODELS = {
    "encoder": EncoderConfig(**SHAPE, layers=2, logit_bias=True, maximal_update=MAXIMAL),
    "decoder": DecoderConfig(**SHAPE, layers=2, query_key_norm=True, maximal_update=MAXIMAL),
    "tied decoder": DecoderConfig(**SHAPE, layers=2, tied_logits=True, maximal_update=MAXIMAL),
    "encoder-decoder": EncoderDecoderConfig(**SHAPE, **LAYERS, maximal_update=MAXIMAL),
    "tied encoder-decoder": EncoderDecoderConfig(**SHAPE, **LAYERS, tied_logits=True, maximal_update=MAXIMAL),
    "normed encoder-decoder": EncoderDecoderConfig(
        **SHAPE, **LAYERS, position_embedding="rotary", query_key_norm=True, maximal_update=MAXIMAL
    ),
}
MATRICES = {"query", "key", "value", "output", "up", "gate", "down", "dense"}


@pytest.mark.parametrize("name", MODELS)
def test_matrices_start_by_their_inputs_and_the_rest_as_in_the_base(name):
    config = MODELS[name]
    model = FunctionalModel.from_config(config)
    parameters = jax.jit(model.init)(jax.random.key(0))
    embeddings = {"embedding": 1.0 if "encoder-decoder" in name else BASE**-0.5, "output_embedding": BASE**-0.5}
    scaled_queries = "encoder-decoder" in name and not config.query_key_norm
    shrink = 1.0 if "encoder-decoder" in name else (2 * 2) ** -0.5
    expected = dict.fromkeys(("key", "value", "up", "gate", "dense"), WIDTH**-0.5)
    expected |= {"query": (WIDTH * BASE / HEADS) ** -0.5 if scaled_queries else WIDTH**-0.5}
    expected |= {"output": WIDTH**-0.5 * shrink, "down": (2 * WIDTH) ** -0.5 * shrink, "weights": BASE**-0.5}
    axes = jax.tree.leaves(model.logical_axes, is_leaf=lambda node: isinstance(node, tuple))
    for (path, leaf), names in zip(jax.tree_util.tree_leaves_with_path(parameters), axes, strict=True):
        last = path[-1].key
        assert is_matrix(names) == (last in MATRICES), path
        if last in expected | embeddings:
            # Position biases are few.
            tolerance = 0.2 if last == "weights" else 0.05
            assert float(jnp.std(leaf)) == pytest.approx((expected | embeddings)[last], rel=tolerance), path
        else:
            assert last in ("scale", "bias")


@pytest.mark.parametrize("name", MODELS)
def test_scores_shrink_with_the_size_of_heads(name):
    config = MODELS[name]
    model = FunctionalModel.from_config(config)
    module = model.bind(model.abstract_parameters)
    size, base = WIDTH // HEADS, BASE // HEADS
    scaled_queries = "encoder-decoder" in name and not config.query_key_norm
    stack = module.decoder if "encoder-decoder" in name else module
    attentions = [stack.layers.attention]
    if "encoder-decoder" in name:
        attentions += [stack.layers.cross_attention, module.encoder.layers.attention]
    for attention in attentions:
        assert attention.scale == pytest.approx(base / size if scaled_queries else base**0.5 / size)


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_divided_by_the_multiple_of_the_width(name):
    config = MODELS[name]
    model = FunctionalModel.from_config(config)
    assert model.width_multiple == WIDTH / BASE
    parameters = jax.jit(model.init)(jax.random.key(0))
    states = jax.random.normal(jax.random.key(1), (1, 3, WIDTH))
    found = np.asarray(jax.jit(lambda states: model.bind(parameters).logits(states))(states))
    kernel = parameters.get("output_embedding", parameters["embedding"])
    if name == "encoder":
        head = model.bind(parameters).masked_lm_head
        states = head.norm(jax.nn.gelu(states @ parameters["masked_lm_head"]["dense"], approximate=False))
    scale = BASE**-0.5 if name == "tied encoder-decoder" else 1.0
    np.testing.assert_allclose(found, scale * states @ kernel.T / (WIDTH / BASE), atol=1e-5)
