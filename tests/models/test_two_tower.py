import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m5jax.errors import UserError
from m5jax.models import FunctionalModel, NgramEncoderConfig, TwoTowerConfig
from tests.models import tiny

WIDTH, SIZE = 12, 6
NGRAMS = NgramEncoderConfig(vocab_size=30, width=WIDTH)
SIMILARITIES = ("cosine", "dot", "bilinear", "mlp")


@functools.cache
def towers(similarity="cosine", projection=SIZE, shared=True, encoder=NGRAMS, lexical=0):
    """Returns a model and its parameters, all of them random."""
    config = TwoTowerConfig(
        encoder=encoder, shared=shared, projection=projection, lexical=lexical, similarity=similarity
    )
    model, random = FunctionalModel.from_config(config), np.random.default_rng(0)
    parameters = jax.tree.map(
        lambda leaf: jnp.asarray(random.normal(0, 0.4, leaf.shape), jnp.float32), model.abstract_parameters
    )
    return model, parameters


def embeddings(seed, rows, size=SIZE):
    return np.random.default_rng(seed).normal(size=(rows, size)).astype(np.float32)


def naive_similarity(similarity, parameters, left, right, size):
    """Returns the similarity of two embeddings, in float64."""
    left, right = (np.array(side[: size or None], np.float64) for side in (left, right))
    if similarity == "cosine":
        return left @ right / (np.linalg.norm(left) * np.linalg.norm(right))
    if similarity == "dot":
        return left @ right / math.sqrt(len(left))
    if similarity == "bilinear":
        return left @ np.array(parameters["bilinear"])[: len(left), : len(left)] @ right / math.sqrt(len(left))
    joined = np.concatenate([left, right, np.abs(left - right), left * right])
    hidden = joined @ np.array(parameters["hidden"], np.float64)
    hidden = np.array([0.5 * x * (1 + math.erf(x / math.sqrt(2))) for x in hidden])
    return float(hidden @ np.array(parameters["output"], np.float64)[:, 0])


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def embedded(similarity, rows):
    """Returns rows as a tower returns them."""
    return jnp.asarray(unit(rows) if similarity == "cosine" else rows)


@settings(max_examples=15)
@given(st.sampled_from(SIMILARITIES), st.sampled_from([0, 2, 4, SIZE]), st.integers(0, 2**16))
def test_similarities_equal_numpy(similarity, size, seed):
    model, parameters = towers(similarity)
    module = model.bind(parameters)
    left, right = (embedded(similarity, embeddings(seed + side, 3)) for side in (0, 1))
    if similarity == "mlp":
        size = 0
    expected = [[naive_similarity(similarity, parameters, a, b, size) for b in right] for a in left]
    got = module.pair_similarities(left, right, size)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, np.diag(expected), atol=1e-5)
    if similarity != "mlp":
        np.testing.assert_allclose(module.all_similarities(left, right[:2], size), np.array(expected)[:, :2], atol=1e-5)


@pytest.mark.parametrize("similarity", ["cosine", "dot", "bilinear"])
@pytest.mark.parametrize("size", [0, 4])
def test_the_inner_product_of_what_an_index_holds_is_the_similarity(similarity, size):
    model, parameters = towers(similarity)
    module = model.bind(parameters)
    left, right = (embedded(similarity, embeddings(side, 5)) for side in (0, 1))
    expected = module.all_similarities(left, right, size)
    if size:
        left, right = (embedded(similarity, np.array(side[:, :size])) for side in (left, right))
    got = np.array(module.searchable(left)) @ np.array(right).T
    np.testing.assert_allclose(got, expected, atol=1e-5)
    np.testing.assert_array_equal(np.argsort(got, axis=1), np.argsort(expected, axis=1))


def test_what_is_not_between_pairs_alone_needs_another_similarity_than_mlp():
    model, parameters = towers("mlp")
    rows = jnp.asarray(embeddings(0, 2))
    with pytest.raises(UserError, match="the similarity mlp is no inner product"):
        model.bind(parameters).searchable(rows)
    with pytest.raises(UserError, match="the similarity mlp is of pairs only"):
        model.bind(parameters).all_similarities(rows, rows)
    with pytest.raises(UserError, match="the similarity mlp is of whole embeddings"):
        model.bind(parameters).pair_similarities(rows, rows, 4)


@pytest.mark.parametrize("similarity", ["cosine", "dot", "bilinear"])
def test_embeddings_cannot_be_cut_to_more_than_they_have(similarity):
    model, parameters = towers(similarity)
    rows = jnp.asarray(embeddings(0, 2))
    for call in (model.bind(parameters).pair_similarities, model.bind(parameters).all_similarities):
        with pytest.raises(UserError, match="embeddings of 6 dimensions cannot be cut to 7"):
            call(rows, rows, 7)


def inputs_of(texts, length):
    inputs = np.zeros((len(texts), length), np.int32)
    for row, ids in zip(inputs, texts, strict=True):
        row[: len(ids)] = ids
    return jnp.asarray(inputs), jnp.asarray((inputs > 0).astype(np.int32))


TEXTS = [[3, 4, 5], [7], [9, 9, 11, 12]]


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("projection", [0, SIZE])
@pytest.mark.parametrize("shared", [True, False])
def test_embeddings_equal_numpy(similarity, projection, shared):
    model, parameters = towers(similarity, projection, shared)
    for right in (False, True):
        own = "right_" if right and not shared else ""
        table = np.array(parameters[f"{own}encoder"]["embedding"], np.float64)
        expected = np.stack([table[ids].mean(axis=0) for ids in TEXTS])
        if projection:
            expected = expected @ np.array(parameters[f"{own}projection"], np.float64)
        got = model.bind(parameters).embed(*inputs_of(TEXTS, 8), right=right)
        assert got.dtype == jnp.float32
        np.testing.assert_allclose(got, unit(expected) if similarity == "cosine" else expected, atol=1e-5)
    names = {"encoder", "log_scale", "bias", *(["right_encoder"] if not shared else [])}
    names |= {"bilinear": {"bilinear"}, "mlp": {"hidden", "output"}}.get(similarity, set())
    names |= {"projection", *(["right_projection"] if not shared else [])} if projection else set()
    assert set(parameters) == names


def test_a_text_of_nothing_has_a_finite_embedding_and_gradient():
    model, parameters = towers()
    rows = inputs_of([[], [3]], 4)

    def total(parameters):
        module = model.bind(parameters)
        left = module.embed(*rows)
        return jnp.sum(module.pair_similarities(left, left[::-1]))

    value, gradient = jax.value_and_grad(total)(parameters)
    assert float(value) == 0.0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


ENCODER = tiny.encoder_config(layers=2)


@functools.cache
def embed_with_encoder(shared):
    model, parameters = towers("cosine", 0, shared, ENCODER)
    embed = jax.jit(
        lambda *rows, right=False: model.bind(parameters).embed(*rows, right=right), static_argnames="right"
    )
    return embed


@pytest.mark.parametrize(("similarity", "projection", "shared"), [("cosine", 0, True), ("dot", SIZE, False)])
def test_a_lexical_part_sums_the_vectors_of_tokens_as_loops_do(similarity, projection, shared):
    model, parameters = towers(similarity, projection, shared, ENCODER, lexical=5)
    plain, rest = towers(similarity, projection, shared, ENCODER)
    rest = {name: parameters[name] for name in rest}
    for right in (False, True):

        def embed(model, parameters, right=right):
            rows = inputs_of(TEXTS, 8)
            return jax.jit(lambda tree: model.bind(tree).embed(*rows, right=right))(parameters)

        def tokens(tree, ids, right=right):
            module = model.bind(tree)
            encoder = module.right_encoder if right and not shared else module.encoder
            return encoder.token_embeddings(jnp.array([ids]))[0]

        lexical, share = parameters["lexical"], 1 / (1 + np.exp(-np.array(parameters["lexical_share"])))
        sums = []
        for ids in TEXTS:
            scores = np.array(tokens(parameters, ids)) @ np.array(lexical["importance"])
            weights = np.log1p(np.exp(scores + np.array(lexical["importance_bias"])))
            sums.append(weights @ np.array(lexical["vectors"])[ids])
        contextual = unit(np.array(embed(plain, rest)))
        expected = np.concatenate([np.sqrt(1 - share) * contextual, np.sqrt(share) * unit(np.stack(sums))], axis=1)
        got = embed(model, parameters)
        assert got.shape[1] == model.config.size == (projection or ENCODER.width) + 5
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_at_first_texts_are_as_near_as_the_tokens_they_share():
    config = TwoTowerConfig(encoder=ENCODER, lexical=4096)
    model = FunctionalModel.from_config(config)
    parameters = jax.jit(model.init)(jax.random.key(0))
    embed = jax.jit(lambda *rows: model.bind(parameters).embed(*rows))
    words = np.sqrt(2) * embed(*inputs_of([[3, 4, 5, 6], [6, 5, 7, 8], [9, 10, 11, 12]], 4))[:, ENCODER.width :]
    np.testing.assert_allclose(words @ words.T, [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]], atol=0.05)


def test_a_bag_of_n_grams_has_no_lexical_part():
    with pytest.raises(UserError, match="TwoTowerConfig.lexical is of encoders"):
        TwoTowerConfig(encoder=NGRAMS, lexical=4)


def test_padding_does_not_matter():
    short, long = (embed_with_encoder(True)(*inputs_of(TEXTS, length)) for length in (4, 16))
    np.testing.assert_allclose(short, long, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), 1, atol=1e-5)


def test_sides_differ_with_towers_of_their_own_only():
    rows = inputs_of(TEXTS, 4)
    left, right = (embed_with_encoder(True)(*rows, right=right) for right in (False, True))
    np.testing.assert_array_equal(left, right)
    left, right = (embed_with_encoder(False)(*rows, right=right) for right in (False, True))
    assert np.abs(left - right).min(axis=1).max() > 1e-3


def test_logits_are_similarities_by_a_temperature_and_a_bias_that_are_learned():
    config = TwoTowerConfig(encoder=NGRAMS, temperature=0.25)
    model = FunctionalModel.from_config(config)
    parameters = model.init(jax.random.key(0))
    similarities = jnp.array([-1.0, 0.0, 0.5])
    np.testing.assert_allclose(model.bind(parameters).logits(similarities), [-4, 0, 2], rtol=1e-6)
    gradient = jax.grad(lambda parameters: jnp.sum(model.bind(parameters).logits(similarities)))(parameters)
    np.testing.assert_allclose(gradient["bias"], [3.0])
    np.testing.assert_allclose(gradient["log_scale"], [-0.5 * 4], rtol=1e-6)


@pytest.mark.parametrize("scale", [100.0, 250.0])
def test_a_scale_at_its_limit_can_go_down_again(scale):
    model = FunctionalModel.from_config(TwoTowerConfig(encoder=NGRAMS, temperature=0.01))
    parameters = model.init(jax.random.key(0)) | {"log_scale": jnp.log(jnp.array([scale]))}
    value, gradient = jax.value_and_grad(lambda parameters: model.bind(parameters).scale)(parameters)
    assert float(value) == pytest.approx(100.0)
    assert float(gradient["log_scale"][0]) > 0


def test_a_bilinear_similarity_begins_as_the_inner_product():
    config = TwoTowerConfig(encoder=NGRAMS, similarity="bilinear")
    model = FunctionalModel.from_config(config)
    np.testing.assert_array_equal(model.init(jax.random.key(0))["bilinear"], np.eye(WIDTH))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"similarity": "cosin"}, "unknown TwoTowerConfig.similarity 'cosin'; did you mean cosine"),
        ({"projection": -1}, "TwoTowerConfig.projection = -1; allowed: 0 and above"),
        ({"temperature": 0.001}, "TwoTowerConfig.temperature = 0.001; allowed: 0.01 and above"),
        ({"temperature": math.inf}, "TwoTowerConfig.temperature = inf"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        TwoTowerConfig(encoder=NGRAMS, **changes)
