"""The decoder against an independent implementation of Llama 3 and of Qwen3: logits, loss, and what is written."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from m5jax.inference.beam_search import Beams, search
from m5jax.inference.decoding import Sampling, write
from m5jax.models import LongContext
from m5jax.objectives import LanguageModel
from tests.models.llama import to_llama
from tests.models.tiny import VOCAB, decoder, row_of, segments_of

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

LENGTHS = (12, 40, 5)
# A rotation of each kind: kept, slowed, and between.
SLOWED = LongContext(factor=4.0, low_frequency=1.0, high_frequency=4.0, trained_length=32)
MODELS = {
    "Llama": {},
    "Llama tied": {"tied_logits": True, "kv_heads": 4},
    "Llama 3.1": {"long_context": SLOWED, "rotary_theta": 50.0},
    "Qwen3": {"query_key_norm": True, "kv_heads": 1},
}


def pair_of(name):
    """Returns the bound model and the reference with its weights."""
    model, parameters = decoder(**MODELS[name])
    config, slowed = model.config, model.config.long_context
    rope = {"rope_type": "default", "rope_theta": config.rotary_theta}
    if slowed:
        rope |= {"rope_type": "llama3", "factor": slowed.factor, "low_freq_factor": slowed.low_frequency}
        rope |= {"high_freq_factor": slowed.high_frequency}
        rope |= {"original_max_position_embeddings": slowed.trained_length}
    kind = name.split()[0]
    settings = getattr(transformers, f"{kind}Config")(
        vocab_size=VOCAB,
        hidden_size=config.width,
        intermediate_size=config.mlp_hidden,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.key_value_heads,
        head_dim=config.head_size,
        max_position_embeddings=128,
        rms_norm_eps=config.norm_epsilon,
        rope_parameters=rope,
        tie_word_embeddings=config.tied_logits,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    reference = getattr(transformers, f"{kind}ForCausalLM")(settings).eval()
    weights = {name: torch.tensor(array) for name, array in to_llama(parameters).items()}
    reference.load_state_dict(weights, strict=True)
    return model.bind(parameters), reference


def rows():
    made = [row_of([tokens], max(LENGTHS)) for tokens in segments_of(LENGTHS)]
    return tuple(jnp.concatenate(parts) for parts in zip(*made, strict=True))


@pytest.mark.parametrize("name", MODELS)
def test_logits_and_loss_equal_hugging_face(name):
    module, reference = pair_of(name)
    inputs, segment_ids, positions = rows()
    with torch.no_grad():
        expected = reference(
            input_ids=torch.tensor(np.array(inputs), dtype=torch.long),
            attention_mask=torch.tensor(np.array(segment_ids), dtype=torch.long),
            labels=torch.tensor(np.where(segment_ids > 0, inputs, -100), dtype=torch.long),
        )
    logits = np.asarray(module.logits(module(inputs, segment_ids, positions)))
    for index, length in enumerate(LENGTHS):
        np.testing.assert_allclose(logits[index, :length], expected.logits[index, :length].numpy(), atol=1e-4)

    places = jnp.broadcast_to(jnp.arange(max(LENGTHS) - 1), (len(LENGTHS), max(LENGTHS) - 1))
    batch = {"inputs": inputs, "segment_ids": segment_ids, "positions": positions, "predicted_positions": places}
    batch |= {"targets": inputs[:, 1:], "loss_weights": (segment_ids[:, 1:] > 0).astype(jnp.float32)}
    loss, _ = LanguageModel(chunk_length=16)(module, batch, None)
    assert float(loss.total / loss.weight) == pytest.approx(float(expected.loss), abs=1e-4)


def written_by(reference, tokens, **how):
    """Returns what the reference writes of one row; padding, which has no meaning for it, is not allowed."""
    ids = torch.tensor(np.array(tokens)[None], dtype=torch.long)
    return reference.generate(ids, max_new_tokens=20, do_sample=False, suppress_tokens=[0], **how)[0, len(tokens) :]


@pytest.mark.parametrize("name", MODELS)
def test_greedy_outputs_equal_hugging_face(name):
    module, reference = pair_of(name)
    inputs, segment_ids, _ = rows()
    allowed = jnp.arange(VOCAB) > 0
    found = np.asarray(write(module, inputs, segment_ids, 20, 1, allowed, jax.random.key(0), Sampling()))
    for row, length in enumerate(LENGTHS):
        expected = written_by(reference, inputs[row, :length], num_beams=1).numpy()
        np.testing.assert_array_equal(found[row, : len(expected)], expected)
        assert not found[row, len(expected) :].any()


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_beams_equal_hugging_face(penalty):
    module, reference = pair_of("Llama 3.1")
    inputs, segment_ids, _ = rows()
    found = np.asarray(search(module, inputs, segment_ids, 20, 1, jnp.arange(VOCAB) > 0, Beams(3, penalty)))
    for row, length in enumerate(LENGTHS):
        how = {"num_beams": 3, "length_penalty": penalty, "early_stopping": "never"}
        expected = written_by(reference, inputs[row, :length], **how).numpy()
        np.testing.assert_array_equal(found[row, : len(expected)], expected)
        assert not found[row, len(expected) :].any()
