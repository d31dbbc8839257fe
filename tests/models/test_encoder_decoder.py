import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from m5jax.errors import UserError
from m5jax.models import EncoderDecoderConfig, FunctionalModel
from m5jax.models.relative_positions import RelativePositionBias
from tests.models.tiny import OPTIONS, encoder_decoder, row_of, segments_of

LENGTH, TARGET_LENGTH = 24, 20
INPUTS, TARGETS = segments_of([7, 4, 9]), segments_of([5, 8, 3], seed=1)
MODELS = {
    "relative": encoder_decoder(),
    "rotary": encoder_decoder(position_embedding="rotary"),
    "options": encoder_decoder(**OPTIONS, kv_heads=1, norm="layer", activation="silu"),
}


def rows_of(inputs, targets):
    return *row_of(inputs, LENGTH), *row_of(targets, TARGET_LENGTH)


@functools.cache
def states_of(name):
    model, parameters = MODELS[name]
    return jax.jit(lambda rows: model.bind(parameters)(*rows)[0])


@pytest.mark.parametrize("name", MODELS)
def test_a_packed_segment_gets_what_it_gets_alone(name):
    packed, start = states_of(name)(rows_of(INPUTS, TARGETS)), 0
    for inputs, targets in zip(INPUTS, TARGETS, strict=True):
        alone = states_of(name)(rows_of([inputs], [targets]))
        np.testing.assert_allclose(packed[start : start + len(targets)], alone[: len(targets)], atol=1e-5)
        start += len(targets)


@pytest.mark.parametrize("name", MODELS)
def test_a_packed_segment_gives_the_gradients_it_gives_alone(name):
    model, parameters = MODELS[name]

    @jax.jit
    @jax.grad
    def gradient(parameters, rows):
        module = model.bind(parameters)
        return jnp.sum(jnp.sin(module.logits(module(*rows))) * (rows[4] > 0)[..., None])

    alone = [gradient(parameters, rows_of([x], [y])) for x, y in zip(INPUTS, TARGETS, strict=True)]
    total = jax.tree.map(lambda *leaves: sum(leaves), *alone)
    packed = gradient(parameters, rows_of(INPUTS, TARGETS))
    # Relative to the largest entry of each, since sums over all targets are large.
    for one, summed in zip(jax.tree.leaves(packed), jax.tree.leaves(total), strict=True):
        np.testing.assert_allclose(one, summed, atol=1e-5 * max(1.0, float(jnp.abs(summed).max())))


@pytest.mark.parametrize("options", [{}, {"head_dim": 64, "kv_heads": 2}], ids=["default", "grouped"])
def test_flops_per_token_is_what_xla_counts(monkeypatch, options):
    # A scanned body is counted once, hence unrolled; norms, GELU and softmax are the rest of XLA's count.
    monkeypatch.setattr(jax.lax, "scan", functools.partial(jax.lax.scan, unroll=True))
    config = EncoderDecoderConfig(
        vocab_size=16_384, width=512, encoder_layers=3, decoder_layers=2, heads=4, mlp_hidden=768, **options
    )
    model = FunctionalModel.from_config(config)
    inputs, targets = (jax.ShapeDtypeStruct((4, length), jnp.int32) for length in (256, 96))

    def loss(parameters, inputs, targets):
        module = model.bind(parameters)
        return jnp.sum(module.logits(module(inputs, inputs, inputs, targets, targets, targets)))

    lowered = jax.jit(jax.value_and_grad(loss)).lower(model.abstract_parameters, inputs, targets)
    stated = config.flops_per_token(256, 96 / 256) * 4 * (256 + 96)
    assert 0.97 < stated / lowered.cost_analysis()["flops"] < 1.0


def test_no_state_depends_on_a_later_target():
    states = states_of("relative")
    full = states(rows_of(INPUTS[:1], TARGETS[1:2]))
    for stop in range(1, len(TARGETS[1])):
        cut = states(rows_of(INPUTS[:1], [TARGETS[1][:stop]]))
        np.testing.assert_allclose(full[:stop], cut[:stop], atol=1e-5)


def naive_bucket(relative, bidirectional, buckets, max_distance):
    offset = 0
    if bidirectional:
        buckets //= 2
        offset, distance = (buckets if relative > 0 else 0), abs(relative)
    else:
        distance = max(-relative, 0)
    exact = buckets // 2
    if distance < exact:
        return offset + distance
    far = exact + int(math.log(distance / exact) / math.log(max_distance / exact) * (buckets - exact))
    return offset + min(far, buckets - 1)


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("buckets", "max_distance"), [(8, 12), (32, 100)])
def test_relative_buckets_equal_a_naive_loop(bidirectional, buckets, max_distance):
    bias = RelativePositionBias(1, buckets, max_distance, bidirectional, 1.0, nnx.Rngs(0))
    bias.weights[...] = jnp.arange(buckets, dtype=jnp.float32)[:, None]
    queries, keys = np.arange(0, 300, 37), np.arange(300)
    found = bias(jnp.asarray(queries)[None], jnp.asarray(keys)[None])[0, 0]
    expected = [[naive_bucket(int(k - q), bidirectional, buckets, max_distance) for k in keys] for q in queries]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder_layers": 0}, "decoder_layers = 0"),
        ({"relative_buckets": 7}, "relative_buckets = 7; allowed: even numbers from 4"),
        ({"relative_max_distance": 4}, "relative_max_distance = 4"),
        ({"dropout_rate": 1.0}, "dropout_rate = 1.0"),
        ({"remat": "some"}, "allowed: attention_saved, dots, full, none, offload"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(changes, message):
    with pytest.raises(UserError, match=message) as error:
        encoder_decoder(**changes)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", MODELS)
def test_cached_steps_give_the_logits_of_the_whole(name):
    model, parameters = MODELS[name]
    lengths, target_length = (9, 4, 7), 12
    rows = [row_of(segments_of([length], seed=length), 10) for length in lengths]
    inputs, segment_ids, positions = (jnp.concatenate(side) for side in zip(*rows, strict=True))
    targets = jnp.asarray(np.random.default_rng(0).integers(4, 40, (3, target_length), dtype=np.int32))
    read = jnp.concatenate([jnp.zeros((3, 1), jnp.int32), targets[:, :-1]], axis=1)
    everywhere = jnp.broadcast_to(jnp.arange(target_length), targets.shape)
    module = model.bind(parameters)
    whole = module.logits(module(inputs, segment_ids, positions, read, jnp.ones_like(targets), everywhere))
    _, cache = module.start(inputs, segment_ids, target_length)
    for position in range(target_length):
        logits, cache = module.step(read[:, position], jnp.array(position), cache)
        np.testing.assert_allclose(logits, whole[:, position], atol=2e-5)
