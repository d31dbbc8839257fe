"""Writing token by token: equal to computing everything anew, held to what is allowed, sampled as asked."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m5jax.errors import UserError
from m5jax.inference.decoding import Sampling, Trie, write
from m5jax.models import DecoderConfig
from tests.models.tiny import VOCAB, decoder, encoder_decoder, row_of, segments_of

MODEL, PARAMETERS = encoder_decoder()
MODELS = {
    "encoder-decoder": (MODEL, PARAMETERS),
    "rotary": encoder_decoder(position_embedding="rotary"),
    "decoder": decoder(),
    "prefix": decoder(bidirectional_prefix=True, query_key_norm=True, tied_logits=True),
}
LENGTH, EOS = 12, 1
EVERYTHING = jnp.ones(VOCAB, bool)
GREEDY = Sampling()


def batch(lengths, width=10):
    rows = [row_of(segments_of([length], seed=length), width)[:2] for length in lengths]
    return tuple(jnp.concatenate(side) for side in zip(*rows, strict=True))


def written(inputs, segment_ids, sampling=GREEDY, trie=None, allowed=EVERYTHING, seed=0, name="encoder-decoder"):
    model, parameters = MODELS[name]
    module = model.bind(parameters)
    key = jax.random.key(seed)
    return np.asarray(write(module, inputs, segment_ids, LENGTH, EOS, allowed, key, sampling, trie))


def next_logits(name):
    """Returns a function to the logits after a row's inputs and what was written so far, made without a cache."""
    model, parameters = MODELS[name]

    def of_encoder_decoder(own, count, line, position):
        module, read = model.bind(parameters), jnp.pad(line, [(1, 0)])[None, :-1]
        places = jnp.arange(read.shape[1])[None]
        inputs = own, (jnp.arange(own.shape[1]) < count).astype(jnp.int32)[None], jnp.arange(own.shape[1])[None]
        states = module(*inputs, read, jnp.ones_like(read), places)
        return module.logits(states)[0, position]

    def of_decoder(own, count, line, position):
        module, width = model.bind(parameters), own.shape[1] + LENGTH
        places = jnp.arange(width)
        # Targets right after the inputs, without the padding between.
        line = jnp.where(
            places < count, jnp.pad(own[0], [(0, LENGTH)]), jnp.roll(jnp.pad(line, [(0, own.shape[1])]), count)
        )
        row = line[None], jnp.ones((1, width), jnp.int32), places[None]
        states = module(*row, None, (places < count).astype(jnp.int32)[None])
        return module.logits(states)[0, count + position - 1]

    return jax.jit(of_decoder if isinstance(model.config, DecoderConfig) else of_encoder_decoder)


def anew(inputs, segment_ids, banned=(), name="encoder-decoder"):
    """Greedy decoding without a cache, a row at a time."""
    logits_of = next_logits(name)
    lines = np.zeros((len(inputs), LENGTH), np.int32)
    for row in range(len(inputs)):
        for position in range(LENGTH):
            logits = np.array(logits_of(inputs[row : row + 1], segment_ids[row].sum(), lines[row], position))
            logits[list(banned)] = -np.inf
            lines[row, position] = logits.argmax()
            if lines[row, position] == EOS:
                break
    return lines


@pytest.mark.parametrize("name", MODELS)
def test_greedy_decoding_with_a_cache_equals_computing_everything_anew(name):
    inputs, segment_ids = batch((9, 4, 7, 1))
    np.testing.assert_array_equal(written(inputs, segment_ids, name=name), anew(inputs, segment_ids, name=name))
    allowed = EVERYTHING.at[jnp.arange(5, 30)].set(False)
    expected = anew(inputs, segment_ids, banned=range(5, 30), name=name)
    np.testing.assert_array_equal(written(inputs, segment_ids, allowed=allowed, name=name), expected)


@pytest.mark.parametrize("name", MODELS)
def test_a_row_is_written_as_it_is_alone_and_padding_writes_nothing(name):
    inputs, segment_ids = batch((9, 4, 7))
    together = written(jnp.pad(inputs, [(0, 2), (0, 3)]), jnp.pad(segment_ids, [(0, 2), (0, 3)]), name=name)
    for row in range(3):
        alone = written(inputs[row : row + 1], segment_ids[row : row + 1], name=name)[0]
        np.testing.assert_array_equal(together[row], alone)
    assert not together[3:].any()


@settings(max_examples=10, deadline=None)
@given(st.lists(st.lists(st.integers(2, VOCAB - 1), min_size=1, max_size=4), min_size=1, max_size=8), st.booleans())
def test_only_allowed_sequences_are_written(sequences, sampled):
    labels = [[*sequence, EOS] for sequence in sequences]
    inputs, segment_ids = batch((9, 4, 7))
    found = written(inputs, segment_ids, Sampling(float(sampled)), Trie.of(labels))
    for row in found.tolist():
        assert row[: row.index(EOS) + 1] in labels
        assert not any(row[row.index(EOS) + 1 :])


def test_greedy_decoding_within_a_trie_takes_the_likeliest_branch():
    inputs, segment_ids = batch((9,))
    first = anew(inputs, segment_ids)[0, 0]
    others = [token for token in range(4, 12) if token != first]
    labels = [[token, EOS] for token in [*others, int(first)]]
    assert written(inputs, segment_ids, trie=Trie.of(labels))[0, :2].tolist() == [first, EOS]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.floats(0.05, 1.0))
def test_top_k_and_top_p_keep_the_fewest_likeliest(seed, top_k, top_p):
    logits = np.random.default_rng(seed).normal(0, 2, 10).astype(np.float32)
    kept = np.isfinite(Sampling(1.0, top_k, top_p).kept(jnp.asarray(logits[None]))[0])
    order = np.argsort(-logits)[: top_k or 10]
    probabilities = np.exp(logits[order]) / np.exp(logits[order]).sum()
    needed = int(np.searchsorted(np.cumsum(probabilities), top_p - 1e-6)) + 1
    margin = np.abs(np.cumsum(probabilities) - top_p).min()
    if margin > 1e-4:  # else rounding decides
        assert set(np.flatnonzero(kept)) == set(order[:needed])


def test_samples_have_the_probabilities_of_the_logits():
    logits = jnp.asarray([[0.0, 1.0, 2.0]])
    chosen = jax.vmap(lambda key: Sampling(2.0).choose(logits, key)[0])(jax.random.split(jax.random.key(0), 20_000))
    expected = np.exp([0.0, 0.5, 1.0]) / np.exp([0.0, 0.5, 1.0]).sum()
    found = np.bincount(np.asarray(chosen), minlength=3) / 20_000
    np.testing.assert_allclose(found, expected, atol=4 * 0.5 / np.sqrt(20_000))


def test_another_seed_writes_something_else():
    inputs, segment_ids = batch((9, 4, 7))
    first, second, again = (written(inputs, segment_ids, Sampling(1.0), seed=seed) for seed in (0, 1, 0))
    np.testing.assert_array_equal(first, again)
    assert (first != second).any()


def test_one_program_writes_any_batch_of_a_shape():
    traced = 0

    @jax.jit
    def compiled(parameters, inputs, segment_ids, key):
        nonlocal traced
        traced += 1
        return write(MODEL.bind(parameters), inputs, segment_ids, 512, EOS, EVERYTHING, key, Sampling())

    for lengths in ((9, 4), (2, 10)):
        compiled(PARAMETERS, *batch(lengths), jax.random.key(0))
    assert traced == 1


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"temperature": -1.0}, "the temperature is -1.0"),
        ({"top_k": -1}, "top_k is -1"),
        ({"top_p": 0.0}, "top_p is 0.0; allowed: above 0, up to 1"),
    ],
)
def test_impossible_sampling_is_refused(setting, message):
    with pytest.raises(UserError, match=message):
        Sampling(**setting)
