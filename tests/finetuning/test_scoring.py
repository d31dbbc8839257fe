"""What a model says of many examples at a time, against the model applied to one after the other."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from m5jax.finetuning.rows import Padded, PairRows, SequenceRows
from m5jax.finetuning.scoring import PAIRS_AT_ONCE, Scorer
from m5jax.models import (
    ClassifierConfig,
    EncoderConfig,
    FunctionalModel,
    NgramEncoderConfig,
    Parameters,
    TwoTowerConfig,
)
from partitioning import MeshConfig, make_mesh

ENCODER = EncoderConfig(vocab_size=40, width=16, layers=2, heads=2, mlp_hidden=24, max_length=64, dropout_rate=0.3)
NGRAMS = NgramEncoderConfig(vocab_size=40, width=16)
MESHES = {"one": MeshConfig(1, 1, 1), "eight": MeshConfig(2, 2, 2)}


def mesh_of(name: str) -> Mesh:
    return make_mesh(MESHES[name], jax.devices()[:1] if name == "one" else jax.devices())


@functools.cache
def model_of(config: Any) -> tuple[FunctionalModel, Parameters]:
    """Returns a model and its parameters, all of them random."""
    model, random = FunctionalModel.from_config(config), np.random.default_rng(0)
    return model, jax.tree.map(
        lambda leaf: jnp.asarray(random.normal(0, 0.3, leaf.shape), jnp.float32), model.abstract_parameters
    )


def texts_of(lengths: list[int], seed: int = 0) -> Padded:
    random = np.random.default_rng(seed)
    return Padded.of([random.integers(1, 40, length).tolist() for length in lengths])


# Two lengths to be padded to, not in their order.
TEXTS = texts_of([3, 20, 9, 16, 17, 1, 5, 25, 2, 30, 7])


def one_by_one(texts: Padded) -> Iterator[tuple[jax.Array, jax.Array]]:
    """Yields inputs and segment ids of each text alone, of one length, so that one program is compiled."""
    for start, end in zip(texts.starts, texts.starts[1:], strict=False):
        tokens = np.zeros((1, 48), np.int32)
        tokens[0, : end - start] = texts.tokens[start:end]
        yield jnp.asarray(tokens), jnp.asarray((tokens > 0).astype(np.int32))


@functools.cache
def embeddings(config: TwoTowerConfig, right: bool) -> jax.Array:
    model, parameters = model_of(config)
    embed = jax.jit(lambda *rows: model.bind(parameters).embed(*rows, right=right))
    return jnp.concatenate([embed(*rows) for rows in one_by_one(TEXTS)])


@pytest.mark.parametrize(("mesh", "batch_size"), [("one", 1), ("one", 4), ("one", 64), ("eight", 3), ("eight", 8)])
@pytest.mark.parametrize("right", [False, True])
def test_embeddings_equal_those_of_each_text_alone(mesh: str, batch_size: int, right: bool) -> None:
    config = TwoTowerConfig(encoder=NGRAMS, shared=False, projection=8)
    model, parameters = model_of(config)
    got = Scorer(model, mesh_of(mesh), batch_size).embed(parameters, TEXTS, right)
    assert (got.dtype, got.shape) == (np.float32, (11, 8))
    np.testing.assert_allclose(got, embeddings(config, right), atol=1e-5)


def test_so_they_do_with_a_transformer_on_eight_devices() -> None:
    config = TwoTowerConfig(encoder=ENCODER)
    model, parameters = model_of(config)
    got = Scorer(model, mesh_of("eight"), 4).embed(parameters, TEXTS)
    np.testing.assert_allclose(got, embeddings(config, False), atol=1e-5)


def pair_rows(count: int) -> PairRows:
    random = np.random.default_rng(0)
    pairs = random.integers(0, 11, (count, 2))
    numbers = np.zeros(count, np.float32)
    groups = np.zeros(11, np.int32)
    return PairRows(TEXTS, TEXTS, pairs, numbers, numbers, groups, groups, np.zeros((count, 0), np.int64))


@pytest.mark.parametrize(
    ("similarity", "size", "count"),
    [("cosine", 0, 7), ("cosine", 3, 7), ("bilinear", 3, 7), ("mlp", 0, 7), ("dot", 0, 2 * PAIRS_AT_ONCE + 5)],
)
def test_logits_of_pairs_equal_those_of_each_pair_alone(similarity: str, size: int, count: int) -> None:
    config = TwoTowerConfig(encoder=NGRAMS, shared=False, similarity=similarity, projection=8)
    model, parameters = model_of(config)
    rows = pair_rows(count)
    got = Scorer(model, mesh_of("one"), 4).pairs(parameters, rows, size)
    assert (got.classes, got.tags) == (None, None)
    assert got.logits is not None
    assert got.logits.shape == (count,)
    module, left, right = model.bind(parameters), embeddings(config, False), embeddings(config, True)
    every = {
        (i, j): float(module.logits(module.pair_similarities(left[i], right[j], size)))
        for i, j in {tuple(pair) for pair in rows.pairs.tolist()}
    }
    np.testing.assert_allclose(got.logits, [every[i, j] for i, j in rows.pairs.tolist()], atol=1e-5)


def test_what_an_index_holds_is_that_of_the_model() -> None:
    model, parameters = model_of(TwoTowerConfig(encoder=NGRAMS, similarity="bilinear"))
    left = np.random.default_rng(0).normal(size=(5, 16)).astype(np.float32)
    got = Scorer(model, mesh_of("eight"), 4).searchable(parameters, left)
    np.testing.assert_allclose(got, model.bind(parameters).searchable(jnp.asarray(left)), atol=1e-6)


@pytest.mark.parametrize(("mesh", "batch_size"), [("one", 1), ("one", 4), ("eight", 5)])
def test_classes_and_tags_equal_those_of_each_sequence_alone(mesh: str, batch_size: int) -> None:
    model, parameters = model_of(ClassifierConfig(encoder=ENCODER, classes=3, tags=4))
    rows = SequenceRows(TEXTS, np.zeros(11, np.int32))
    got = Scorer(model, mesh_of(mesh), batch_size).sequences(parameters, rows)
    assert got.logits is None
    assert got.classes is not None
    assert got.tags is not None
    assert len(got.tags) == 11
    run = jax.jit(lambda *row: model.bind(parameters)(*row))
    for place, row in enumerate(one_by_one(TEXTS)):
        expected, length = run(*row), int(row[1].sum())
        np.testing.assert_allclose(got.classes[place], expected.classes[0], atol=1e-5)
        np.testing.assert_array_equal(got.tags[place][:length], expected.tags[0, :length].argmax(axis=-1))


def test_one_class_is_a_logit() -> None:
    model, parameters = model_of(ClassifierConfig(encoder=ENCODER, classes=1))
    got = Scorer(model, mesh_of("one"), 4).sequences(parameters, SequenceRows(TEXTS, np.zeros(11, np.float32)))
    assert got.logits is not None
    assert got.classes is not None
    assert got.tags is None
    np.testing.assert_array_equal(got.logits, got.classes[:, 0])
    assert len(set(got.logits.tolist())) == 11
