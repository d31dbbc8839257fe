"""Items compared token by token, against loops in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from m5jax.models import ClassifierConfig, FunctionalModel
from m5jax.models.comparison import Alignment, Comparison, attend_to_others, item_numbers
from tests.models import tiny
from tests.models.test_classifier import gelu

WIDTH, END = 6, 2
ITEMS = np.array([[1, 1, 2, 2, 2, 0], [1, 2, 2, 3, 3, 3], [1, 1, 1, 0, 0, 0]])


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def found_by_loops(query, tokens, items):
    found = np.zeros(tokens.shape)
    for row, place in np.ndindex(items.shape):
        others = [other for other in range(items.shape[1]) if items[row, other] not in (0, items[row, place])]
        if others:
            scores = np.array([query[row, place] @ tokens[row, other] for other in others]) / np.sqrt(tokens.shape[-1])
            weights = np.exp(scores - scores.max())
            found[row, place] = weights @ tokens[row, others] / weights.sum()
    return found


def aligned_by_loops(alignment, tokens, items):
    found = found_by_loops(tokens @ np.array(alignment.query[...]), tokens, items)
    both = np.concatenate([tokens, found, np.abs(tokens - found), tokens * found], axis=-1)
    return both @ np.array(alignment.difference[...])


def test_items_end_with_their_token():
    inputs = jnp.array([[5, END, 7, 7, END, 0], [END, 3, END, 4, 4, 4]])
    got = item_numbers(inputs, inputs > 0, END)
    np.testing.assert_array_equal(got, [[1, 1, 2, 2, 2, 0], [1, 2, 2, 3, 3, 3]])


def test_tokens_attend_to_other_items_only():
    query, tokens = draw(3, 6, WIDTH), draw(3, 6, WIDTH, seed=1)
    got = attend_to_others(jnp.asarray(query), jnp.asarray(tokens), jnp.asarray(ITEMS))
    np.testing.assert_allclose(got, found_by_loops(query, tokens, ITEMS), atol=1e-5)
    assert not np.any(got[2, :3])  # there is no other item


def test_at_first_a_token_finds_itself():
    tokens = 8 * jnp.eye(WIDTH)[jnp.array([[0, 1, 2, 2, 4, 0]])]
    items = jnp.array([[1, 1, 1, 2, 2, 2]])
    alignment = Alignment(WIDTH, nnx.Rngs(0))
    found = attend_to_others(tokens @ alignment.query[...], tokens, items)
    for place in (0, 2, 3, 5):
        np.testing.assert_allclose(found[0, place], tokens[0, place], atol=1e-3)
    assert np.abs(found[0, 1] - tokens[0, 1]).max() > 1  # the other item has no such token


def test_comparisons_equal_loops():
    comparison = Comparison(WIDTH, nnx.Rngs(0))
    for seed, alignment in enumerate((comparison.embedded, comparison.contextual)):
        alignment.query[...] = jnp.asarray(draw(WIDTH, WIDTH, seed=seed))
    embedded, states = draw(3, 6, WIDTH), draw(3, 6, WIDTH, seed=1)
    got = comparison(jnp.asarray(embedded), jnp.asarray(states), jnp.asarray(ITEMS))
    sums = aligned_by_loops(comparison.embedded, embedded, ITEMS)
    sums += aligned_by_loops(comparison.contextual, states, ITEMS)
    for row, items in enumerate(ITEMS):
        compared = np.array([[gelu(x) for x in token] for token in sums[row][items > 0]])
        pooled = np.concatenate([compared.mean(0), compared.max(0)])
        np.testing.assert_allclose(got[row], pooled @ np.array(comparison.pooled[...]), atol=1e-4)


@pytest.fixture(scope="module")
def compared():
    config = ClassifierConfig(encoder=tiny.encoder_config(layers=2), item_end=END)
    model = FunctionalModel.from_config(config)
    return model, jax.jit(model.init)(jax.random.key(0))


def test_a_classifier_compares_the_items_of_its_sequence(compared):
    model, parameters = compared
    without = FunctionalModel.from_config(ClassifierConfig(encoder=tiny.encoder_config(layers=2)))
    rest = {name: value for name, value in parameters.items() if name != "comparison"}
    inputs = jnp.array([[7, 8, END, 7, 8, END, 0, 0], [7, 8, END, 9, 6, END, 0, 0]])
    segment_ids = (inputs > 0).astype(jnp.int32)
    states = jax.jit(lambda tree: without.bind(tree).encoder.states(inputs, segment_ids))(rest)
    hidden = states * (segment_ids > 0)[..., None]
    mean = np.array(hidden.sum(1) / 6, np.float64) @ np.array(parameters["dense"], np.float64)
    items = item_numbers(inputs, inputs > 0, END)

    def compare(tree):
        module = model.bind(tree)
        return module.comparison(module.encoder.token_embeddings(inputs), states, items)

    mean += jax.jit(compare)(parameters)
    expected = np.array([[gelu(x) for x in row] for row in mean]) @ np.array(parameters["output"]["kernel"])
    got = jax.jit(lambda tree: model.bind(tree)(inputs, segment_ids).classes)(parameters)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_padding_does_not_matter(compared):
    model, parameters = compared
    run = jax.jit(lambda inputs: model.bind(parameters)(inputs, (inputs > 0).astype(jnp.int32)).classes)
    row = [7, 8, END, 9, 8, END]
    short, long = (run(jnp.array([row + [0] * padding])) for padding in (0, 10))
    np.testing.assert_allclose(short, long, atol=1e-5)


def test_frozen_layers_have_constant_embeddings():
    config = ClassifierConfig(encoder=tiny.encoder_config(layers=2, frozen_layers=2), item_end=END)
    model = FunctionalModel.from_config(config)
    parameters = jax.jit(model.init)(jax.random.key(0))
    inputs = jnp.array([[7, 8, END, 9, 8, END]])
    classes = jax.grad(lambda tree: model.bind(tree)(inputs, jnp.ones_like(inputs)).classes.sum())
    gradient = jax.jit(classes)(parameters)
    assert not np.any(gradient["encoder"]["embedding"])
    assert np.any(gradient["comparison"]["embedded"]["query"])
