import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from m5jax.errors import UserError
from m5jax.models import DecoderConfig, FunctionalModel
from tests.models.tiny import OPTIONS, decoder, row_of, segments_of

LENGTH = 24
SEGMENTS = segments_of([7, 4, 9])
MODELS = {
    "causal": decoder(),
    "prefix": decoder(bidirectional_prefix=True),
    "options": decoder(**OPTIONS, bidirectional_prefix=True, norm="layer", activation="gelu", head_dim=None),
}


@functools.cache
def states_of(name):
    model, _ = MODELS[name]
    return jax.jit(lambda parameters, *rows: model.bind(parameters)(*rows[:3], None, rows[3])[0])


def rows_of(segments):
    """Returns a packed row in which the first half of each segment is inputs."""
    inputs, segment_ids, positions = row_of(segments, LENGTH)
    prefix = jnp.concatenate([jnp.arange(len(tokens)) < len(tokens) // 2 for tokens in segments])
    return inputs, segment_ids, positions, jnp.pad(prefix, (0, LENGTH - len(prefix))).astype(jnp.int32)[None]


@pytest.mark.parametrize("name", MODELS)
def test_a_packed_segment_gets_what_it_gets_alone(name):
    _, parameters = MODELS[name]
    packed, start = states_of(name)(parameters, *rows_of(SEGMENTS)), 0
    for tokens in SEGMENTS:
        alone = states_of(name)(parameters, *rows_of([tokens]))
        np.testing.assert_allclose(packed[start : start + len(tokens)], alone[: len(tokens)], atol=1e-5)
        start += len(tokens)


@pytest.mark.parametrize("name", MODELS)
def test_a_packed_segment_gives_the_gradients_it_gives_alone(name):
    model, parameters = MODELS[name]

    @jax.jit
    @jax.grad
    def gradient(parameters, rows):
        module = model.bind(parameters)
        logits = module.logits(module(*rows[:3], None, rows[3]))
        return jnp.sum(jnp.sin(logits) * (rows[1] > 0)[..., None])

    alone = [gradient(parameters, rows_of([tokens])) for tokens in SEGMENTS]
    total = jax.tree.map(lambda *leaves: sum(leaves), *alone)
    packed = gradient(parameters, rows_of(SEGMENTS))
    # Relative to the largest entry of each, since sums over all targets are large.
    for one, summed in zip(jax.tree.leaves(packed), jax.tree.leaves(total), strict=True):
        np.testing.assert_allclose(one, summed, atol=1e-5 * max(1.0, float(jnp.abs(summed).max())))


def test_no_state_depends_on_a_later_token_but_those_of_a_prefix_do():
    tokens = SEGMENTS[2]
    for name, first_alike in (("causal", 0), ("prefix", len(tokens) // 2)):
        _, parameters = MODELS[name]
        full = states_of(name)(parameters, *rows_of([tokens]))
        changed = tokens.copy()
        changed[len(tokens) // 2 - 1] += 1
        other = states_of(name)(parameters, *rows_of([changed]))
        same = np.isclose(full, other, atol=1e-6).all(axis=-1)[: len(tokens)]
        assert same.tolist()[: len(tokens) // 2 - 1] == [not first_alike] * (len(tokens) // 2 - 1)
        changed = tokens.copy()
        changed[-1] += 1
        other = states_of(name)(parameters, *rows_of([changed]))
        np.testing.assert_allclose(full[: len(tokens) - 1], other[: len(tokens) - 1], atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_cached_steps_give_the_logits_of_the_whole(name):
    model, parameters = MODELS[name]
    module, lengths, written = model.bind(parameters), (9, 4, 7), 12
    made = [row_of(segments_of([length], seed=length), 10) for length in lengths]
    inputs, segment_ids, _ = (jnp.concatenate(side) for side in zip(*made, strict=True))
    targets = np.random.default_rng(0).integers(4, 40, (3, written), dtype=np.int32)
    start, step = (
        jax.jit(function, static_argnums=2 if index == 0 else ())
        for index, function in enumerate((module.start, module.step))
    )
    token, cache = start(inputs, segment_ids, written)
    found = []
    for position in range(written):
        logits, cache = step(token, jnp.array(position), cache)
        found.append(np.asarray(logits))
        token = jnp.asarray(targets[:, position])
    for row, length in enumerate(lengths):
        sequence, places = (
            jnp.concatenate([inputs[row, :length], targets[row]])[None],
            jnp.arange(length + written)[None],
        )
        states = module(sequence, jnp.ones_like(sequence), places, None, (places < length).astype(jnp.int32))
        whole = module.logits(states)[0, length - 1 : -1]
        np.testing.assert_allclose(np.stack(found)[:, row], whole, atol=2e-5)


def test_dropout_follows_its_key_and_is_off_without():
    model, parameters = decoder(dropout_rate=0.3)
    states = jax.jit(lambda *arguments: model.bind(parameters)(*arguments))
    row = row_of(segments_of([6]), LENGTH)
    first, again, other = (states(*row, jax.random.key(seed)[None]) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


@pytest.mark.parametrize("options", [{}, {"head_dim": 64, "kv_heads": 2}], ids=["default", "grouped"])
def test_flops_per_token_is_what_xla_counts(monkeypatch, options):
    # A scanned body is counted once, hence unrolled; norms, SiLU and softmax are the rest of XLA's count.
    monkeypatch.setattr(jax.lax, "scan", functools.partial(jax.lax.scan, unroll=True))
    config = DecoderConfig(vocab_size=16_384, width=512, layers=3, heads=8, mlp_hidden=768, **options)
    model = FunctionalModel.from_config(config)
    tokens = jax.ShapeDtypeStruct((4, 256), jnp.int32)

    def loss(parameters, inputs):
        module = model.bind(parameters)
        return jnp.sum(module.logits(module(inputs, inputs, inputs)))

    lowered = jax.jit(jax.value_and_grad(loss)).lower(model.abstract_parameters, tokens)
    stated = config.flops_per_token(256, 1.0) * 4 * 256
    assert 0.97 < stated / lowered.cost_analysis()["flops"] < 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": 0}, "DecoderConfig.layers = 0"),
        ({"kv_heads": 3}, "kv_heads = 3 does not divide heads = 4"),
        ({"head_dim": 5}, "head_dim = 5; rotary positions need heads of an even size"),
        ({"dropout_rate": 1.0}, "dropout_rate = 1.0"),
        ({"rotary_theta": 0.0}, "rotary_theta = 0.0; allowed: above 0"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(changes, message):
    with pytest.raises(UserError, match=message) as error:
        decoder(**changes)
    assert "\n" not in str(error.value)
