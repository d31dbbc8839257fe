import jax.numpy as jnp
import numpy as np

TEXTS = ["red lamp", "blue cotton chair", "kettle", "wireless headphones " * 40, ""]


def naive(embedder, text):
    """One text at a time, without padding."""
    config = embedder.model.config
    tokens = [*embedder.vocabulary.encode([text])[0][: config.max_length - 1], embedder.vocabulary.eos_id]
    inputs = jnp.array([tokens], jnp.int32)
    module = embedder.model.bind(embedder.parameters)
    hidden = module(inputs, jnp.ones_like(inputs), jnp.arange(len(tokens))[None])
    return np.asarray(hidden[0]).mean(axis=0)


def test_batched_and_padded_equals_one_at_a_time(embedder):
    expected = np.stack([naive(embedder, text) for text in TEXTS])
    for batch_size in (8, 16):
        np.testing.assert_allclose(embedder.embed(TEXTS, batch_size), expected, atol=2e-5)


def test_more_texts_than_a_batch_keep_their_order(embedder):
    texts = [" ".join(["red", "lamp", "kettle"][: 1 + index % 3] * (1 + index % 4)) for index in range(37)]
    np.testing.assert_allclose(embedder.embed(texts, 8), embedder.embed(texts, 64), atol=2e-5)


def test_texts_over_the_maximum_are_cut_and_counted(embedder):
    before = embedder.texts_cut
    embedder.embed(["wireless headphones " * 40, "lamp"], 8)
    assert embedder.texts_cut == before + 1


def test_query_is_read_as_a_title_and_cannot_spell_field_tokens(embedder):
    np.testing.assert_allclose(embedder.embed_query("red lamp"), embedder.embed(["<title> red lamp"], 8)[0], atol=2e-5)
    ids = embedder.vocabulary.encode(["<title> < title> x"])[0]
    assert sum(index in embedder.vocabulary.field_ids for index in ids) == 1
