import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import m5jax.models.encoder
import m5jax.models.layers
from m5jax.errors import UserError
from m5jax.models import EncoderConfig, FunctionalModel
from partitioning import MeshConfig, make_mesh
from tests.models.tiny import OPTIONS, VOCAB, encoder, encoder_config, row_of, segments_of

LENGTH = 24


KINDS = {"default": {}, "options": {**OPTIONS, "kv_heads": 1, "norm": "rms", "activation": "silu", "head_dim": 6}}


@functools.cache
def hidden_states(kind="default"):
    model, parameters = encoder(**KINDS[kind])
    return jax.jit(lambda *row: model.bind(parameters)(*row))


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(list(KINDS)), st.lists(st.integers(1, 8), min_size=1, max_size=3), st.integers(0, 1000))
def test_a_packed_segment_gets_what_it_gets_alone(kind, lengths, seed):
    segments = segments_of(lengths, seed)
    packed = hidden_states(kind)(*row_of(segments, LENGTH))[0]
    start = 0
    for tokens in segments:
        alone = hidden_states(kind)(*row_of([tokens], LENGTH))[0]
        np.testing.assert_allclose(packed[start : start + len(tokens)], alone[: len(tokens)], atol=1e-5)
        start += len(tokens)


@pytest.mark.parametrize("kind", KINDS)
def test_a_packed_segment_gives_the_gradients_it_gives_alone(kind):
    model, parameters = encoder(**KINDS[kind])
    segments = segments_of([7, 4, 9])

    @jax.jit
    @jax.grad
    def gradient(parameters, row, real):
        return jnp.sum(jnp.sin(model.bind(parameters)(*row)) * real[..., None])

    def of(segments):
        row = row_of(segments, LENGTH)
        return gradient(parameters, row, row[1] > 0)

    alone = [of([tokens]) for tokens in segments]
    total = jax.tree.map(lambda *leaves: sum(leaves), *alone)
    for packed, summed in zip(jax.tree.leaves(of(segments)), jax.tree.leaves(total), strict=True):
        np.testing.assert_allclose(packed, summed, atol=1e-5)


def test_with_a_prefix_no_token_sees_a_later_target():
    model, parameters = encoder()
    segments, prefixes = segments_of([9, 12]), (4, 1)
    inputs, segment_ids, positions = row_of(segments, LENGTH)
    bidirectional = np.zeros_like(inputs)
    bidirectional[0, :4] = bidirectional[0, 9:10] = 1

    @jax.jit
    def states(inputs, segment_ids, positions, bidirectional):
        return model.bind(parameters)(inputs, segment_ids, positions, None, bidirectional)[0]

    packed = states(inputs, segment_ids, positions, bidirectional)
    start = 0
    for tokens, prefix in zip(segments, prefixes, strict=True):
        for stop in range(prefix, len(tokens) + 1):
            row = row_of([tokens[:stop]], LENGTH)
            free = np.zeros_like(inputs)
            free[0, :prefix] = 1
            alone = states(*row, free)
            np.testing.assert_allclose(packed[start : start + stop], alone[:stop], atol=1e-5)
        start += len(tokens)


def test_padding_has_no_influence():
    row = row_of(segments_of([6, 5]), LENGTH)
    inputs, segment_ids, positions = (np.array(x) for x in row)
    inputs[segment_ids == 0], positions[segment_ids == 0] = 17, 3
    expected, other = hidden_states()(*row), hidden_states()(inputs, segment_ids, positions)
    np.testing.assert_array_equal(other[0, :11], expected[0, :11])
    shorter = hidden_states()(*row_of(segments_of([6, 5]), 11))
    np.testing.assert_allclose(shorter[0], expected[0, :11], atol=1e-5)


def test_logits_of_some_states_are_those_of_all():
    model, parameters = encoder()
    hidden = hidden_states()(*row_of(segments_of([8, 6]), LENGTH))
    masked = jnp.array([0, 3, 9, 13, 0])
    logits_of = jax.jit(lambda states: model.bind(parameters).logits(states))
    everywhere, logits = logits_of(hidden), logits_of(hidden[:, masked])
    assert logits.dtype == jnp.float32
    assert logits.shape == (1, 5, VOCAB)
    np.testing.assert_allclose(logits[0], everywhere[0, masked], atol=1e-5)


POOLED = {"mean": lambda states: states.mean(0), "max": lambda states: states.max(0), "first": lambda states: states[0]}


@pytest.mark.parametrize("pooling", POOLED)
def test_embed_pools_the_states_of_each_row(pooling):
    model, parameters = encoder(pooling=pooling)
    tokens = segments_of([9, 4])
    rows = [row_of([one], LENGTH) for one in tokens]
    inputs, segment_ids = (jnp.concatenate([row[index] for row in rows]) for index in (0, 1))
    embeddings = jax.jit(lambda *arguments: model.bind(parameters).embed(*arguments))(inputs, segment_ids)
    for embedding, row, one in zip(embeddings, rows, tokens, strict=True):
        states = np.asarray(hidden_states()(*row))[0, : len(one)]
        np.testing.assert_allclose(embedding, POOLED[pooling](states), atol=1e-5)


def test_dropout_differs_in_every_place_and_layer(monkeypatch):
    keys = []
    original = m5jax.models.encoder.dropout

    def recording(x, rate, of_rows):
        jax.debug.callback(lambda data: keys.append(tuple(np.asarray(data).tolist())), jax.random.key_data(of_rows[0]))
        return original(x, rate, of_rows)

    for module in (m5jax.models.encoder, m5jax.models.layers):
        monkeypatch.setattr(module, "dropout", recording)
    model, parameters = encoder(dropout_rate=0.3)
    states = jax.jit(lambda *arguments: model.bind(parameters)(*arguments))
    jax.block_until_ready(states(*row_of(segments_of([6]), LENGTH), jax.random.key(0)[None]))
    jax.effects_barrier()
    assert len(keys) == len(set(keys)) == 1 + 2 * model.config.layers


def test_dropout_follows_its_key_and_is_off_without():
    model, parameters = encoder(dropout_rate=0.3)
    states, row = jax.jit(lambda *arguments: model.bind(parameters)(*arguments)), row_of(segments_of([6]), LENGTH)
    first, again, other = (states(*row, jax.random.key(seed)[None]) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    np.testing.assert_allclose(states(*row), hidden_states()(*row), atol=1e-6)


def test_half_precision_stays_near_single():
    model, parameters = encoder(dtype="bfloat16")
    row = row_of(segments_of([12]), LENGTH)
    hidden = jax.jit(lambda *arguments: model.bind(parameters)(*arguments))(*row)
    assert hidden.dtype == jnp.bfloat16
    np.testing.assert_allclose(hidden.astype(jnp.float32), hidden_states()(*row), atol=0.1)


def test_freshly_drawn_states_keep_their_scale_in_depth():
    config = EncoderConfig(vocab_size=512, width=64, layers=24, heads=4, mlp_hidden=96)
    model = FunctionalModel.from_config(config)
    parameters = jax.jit(model.init)(jax.random.key(0))
    residual = parameters["layers"]["attention"]["output"]
    assert float(jnp.std(residual)) == pytest.approx((2 * 24 * 64) ** -0.5, rel=0.05)
    assert float(jnp.std(parameters["embedding"])) == pytest.approx(64**-0.5, rel=0.05)
    everywhere = jnp.tile(jnp.arange(64), (8, 1))

    @jax.jit
    def logits(parameters, inputs):
        module = model.bind(parameters)
        return module.logits(module(inputs, jnp.ones_like(inputs), everywhere))

    inputs = jax.random.randint(jax.random.key(1), (8, 64), 4, 512)
    # So that the first loss is near log(vocabulary).
    assert float(jnp.std(logits(parameters, inputs))) == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("options", [{}, {"head_dim": 64, "kv_heads": 2}], ids=["default", "grouped"])
def test_flops_per_token_is_what_xla_counts(monkeypatch, options):
    # A scanned body is counted once, hence unrolled; norms, GELU and softmax are the rest of XLA's count.
    monkeypatch.setattr(jax.lax, "scan", functools.partial(jax.lax.scan, unroll=True))
    config = EncoderConfig(vocab_size=16_384, width=512, layers=3, heads=8, mlp_hidden=768, **options)
    model = FunctionalModel.from_config(config)
    tokens = jax.ShapeDtypeStruct((4, 256), jnp.int32)
    masked = jax.ShapeDtypeStruct((4, 44), jnp.int32)

    def loss(parameters, inputs, masked):
        module = model.bind(parameters)
        states = jnp.take_along_axis(module(inputs, inputs, inputs), masked[..., None], axis=1)
        return jnp.sum(module.logits(states))

    lowered = jax.jit(jax.value_and_grad(loss)).lower(model.abstract_parameters, tokens, masked)
    stated = config.flops_per_token(256, 44 / 256) * 4 * 256
    assert 0.97 < stated / lowered.cost_analysis()["flops"] < 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": 0}, "layers = 0"),
        ({"width": 15}, "does not split into 2 heads"),
        ({"width": 6}, "rotary positions need heads of an even size"),
        ({"kv_heads": 3}, "kv_heads = 3 does not divide heads = 2"),
        ({"norm": "rsm"}, "did you mean rms"),
        ({"activation": "relu"}, "did you mean gelu"),
        ({"dropout_rate": 1.0}, "dropout_rate = 1.0"),
        ({"pooling": "maen"}, "did you mean mean"),
        ({"remat": "some"}, "allowed: attention_saved, dots, full, none, offload"),
        ({"dtype": "float16"}, "did you mean"),
    ],
)
def test_a_wrong_setting_is_named(changes, message):
    with pytest.raises(UserError, match=message):
        encoder(**changes)


ROW = row_of(segments_of([7, 4]), 16)
# Of three layers, and with policies that layers take in turn of four.
FROZEN = [({"layers": 3}, 1), ({"layers": 3}, 3), ({"layers": 4, "remat": ("none", "full")}, 2)]
FROZEN += [({"layers": 2, "remat": ("none", "full")}, 2)]


@pytest.mark.parametrize(("settings", "frozen"), FROZEN)
def test_frozen_layers_give_the_same_states_and_no_gradients(settings, frozen):
    model, parameters = encoder(dropout_rate=0.2, **settings)
    with_frozen = FunctionalModel.from_config(dataclasses.replace(model.config, frozen_layers=frozen))
    keys = jax.random.split(jax.random.key(3), 1)

    def total(parameters, *, model):
        states = model.bind(parameters)(*ROW, keys)
        return jnp.sum(jnp.sin(states)), states

    results = [
        jax.jit(jax.grad(functools.partial(total, model=m), has_aux=True))(parameters) for m in (model, with_frozen)
    ]
    (gradients, states), (frozen_gradients, frozen_states) = results
    np.testing.assert_allclose(frozen_states, states, atol=1e-6)
    for name in ("embedding", "embedding_norm"):
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(frozen_gradients[name]))
        assert any(np.any(leaf) for leaf in jax.tree.leaves(gradients[name]))
    np.testing.assert_allclose(frozen_gradients["final_norm"]["scale"], gradients["final_norm"]["scale"], atol=1e-5)
    for got, whole in zip(*(jax.tree.leaves(tree["layers"]) for tree in (frozen_gradients, gradients)), strict=True):
        assert not np.any(got[:frozen])
        np.testing.assert_allclose(got[frozen:], whole[frozen:], atol=1e-5)


def test_layers_cannot_be_frozen_in_a_pipeline():
    model, parameters = encoder(layers=2, frozen_layers=1)
    inputs, segment_ids, positions = (jnp.tile(array, (8, 1)) for array in ROW)
    mesh = make_mesh(MeshConfig(1, 4, pipeline=2))
    with jax.set_mesh(mesh), pytest.raises(UserError, match="layers cannot be frozen in a pipeline"):
        jax.eval_shape(lambda parameters: model.bind(parameters)(inputs, segment_ids, positions), parameters)


@pytest.mark.parametrize(("settings", "frozen"), [({}, 4), ({}, -1), ({"layers": 4, "remat": ("none", "full")}, 1)])
def test_other_numbers_of_frozen_layers_are_refused(settings, frozen):
    with pytest.raises(UserError, match=f"EncoderConfig.frozen_layers = {frozen}; allowed: 0 to [34], a multiple"):
        encoder_config(**settings, frozen_layers=frozen)
