"""The encoder against an independent implementation of the same architecture."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.modernbert import to_modernbert
from tests.models.tiny import VOCAB, encoder, row_of, segments_of

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

LENGTHS, LENGTH = (12, 20, 5), 20


ALTERNATING = {"global_every": 2, "local_window": 6, "local_rotary_theta": 50.0, "logit_bias": True}


@pytest.fixture(scope="module", params=[{}, ALTERNATING], ids=["global", "alternating"])
def pair(request):
    """Returns (bound encoder, ModernBertForMaskedLM) with the same weights."""
    model, parameters = encoder(rotary_theta=500.0, pooling="mean", max_length=LENGTH, **request.param)
    if "bias" in parameters["masked_lm_head"]:
        parameters["masked_lm_head"]["bias"] = jnp.linspace(-1.0, 1.0, VOCAB)
    config = model.config
    thetas = {"full_attention": config.rotary_theta, "sliding_attention": config.local_rotary_theta}
    rotary = {kind: {"rope_type": "default", "rope_theta": theta} for kind, theta in thetas.items()}
    settings = transformers.ModernBertConfig(
        vocab_size=VOCAB,
        hidden_size=config.width,
        intermediate_size=config.mlp_hidden,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        max_position_embeddings=LENGTH,
        global_attn_every_n_layers=config.global_every,
        local_attention=config.local_window,
        rope_parameters=rotary,
        norm_eps=config.norm_epsilon,
        decoder_bias=config.logit_bias,
        pad_token_id=0,
        attn_implementation="eager",
    )
    reference = transformers.ModernBertForMaskedLM(settings).eval()
    weights = {name: torch.tensor(array) for name, array in to_modernbert(parameters).items()}
    reference.load_state_dict(weights, strict=True)
    return model.bind(parameters), reference


@pytest.fixture(scope="module")
def rows():
    """Returns inputs, segment ids and positions, one padded example a row."""
    made = [row_of([tokens], LENGTH) for tokens in segments_of(LENGTHS)]
    return tuple(jnp.concatenate(parts) for parts in zip(*made, strict=True))


def reference_output(reference, rows):
    inputs, segment_ids, _ = rows
    with torch.no_grad():
        return reference(
            input_ids=torch.tensor(np.array(inputs), dtype=torch.long),
            attention_mask=torch.tensor(np.array(segment_ids), dtype=torch.long),
            output_hidden_states=True,
        )


def test_hidden_states_logits_and_embeddings_equal_hugging_face(pair, rows):
    module, reference = pair
    inputs, segment_ids, _ = rows
    output = reference_output(reference, rows)
    expected = output.hidden_states[-1].numpy()
    hidden = module(*rows)
    logits = np.asarray(module.logits(hidden))
    embeddings = module.embed(inputs, segment_ids)
    for index, length in enumerate(LENGTHS):
        np.testing.assert_allclose(hidden[index, :length], expected[index, :length], atol=1e-4)
        np.testing.assert_allclose(logits[index, :length], output.logits[index, :length].numpy(), atol=1e-4)
        np.testing.assert_allclose(embeddings[index], expected[index, :length].mean(0), atol=1e-4)
