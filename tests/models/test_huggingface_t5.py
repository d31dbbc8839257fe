"""The encoder-decoder against an independent implementation of T5 1.1, of T5 with tied logits, and of mT5."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from m5jax.inference.beam_search import Beams, search
from m5jax.inference.decoding import Sampling, write
from m5jax.objectives import SequenceToSequence
from tests.models.t5 import from_t5, to_t5
from tests.models.tiny import VOCAB, encoder_decoder, row_of, segments_of

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

INPUTS, TARGETS = (12, 30, 5), (9, 4, 17)


def reference_of(kind, config):
    made, settings = {
        "T5": (transformers.T5ForConditionalGeneration, transformers.T5Config),
        "MT5": (transformers.MT5ForConditionalGeneration, transformers.MT5Config),
    }[kind]
    reference = made(
        settings(
            vocab_size=config.vocab_size,
            d_model=config.width,
            d_kv=config.head_size,
            d_ff=config.mlp_hidden,
            num_layers=config.encoder_layers,
            num_decoder_layers=config.decoder_layers,
            num_heads=config.heads,
            relative_attention_num_buckets=config.relative_buckets,
            relative_attention_max_distance=config.relative_max_distance,
            layer_norm_epsilon=config.norm_epsilon,
            feed_forward_proj="gated-gelu",
            tie_word_embeddings=config.tied_logits,
            decoder_start_token_id=0,
        )
    ).eval()
    if not config.tied_logits:
        # Newer versions tie on construction whatever the setting says, and untie for a checkpoint that holds both.
        reference.lm_head.weight = torch.nn.Parameter(reference.lm_head.weight.detach().clone())
    return reference


def pair_of(kind, tied):
    """Returns the model, its parameters and the reference with the same weights."""
    model, parameters = encoder_decoder(tied_logits=tied)
    reference = reference_of(kind, model.config)
    reference.load_state_dict({name: torch.tensor(array) for name, array in to_t5(parameters).items()}, strict=True)
    return model, parameters, reference


def written_by(reference, inputs, segment_ids, **how):
    """Returns what the reference writes; padding, which has no meaning for it, is not allowed."""
    return reference.generate(
        input_ids=torch.tensor(np.array(inputs), dtype=torch.long),
        attention_mask=torch.tensor(np.array(segment_ids), dtype=torch.long),
        max_new_tokens=20,
        do_sample=False,
        eos_token_id=1,
        pad_token_id=0,
        suppress_tokens=[0],
        **how,
    )[:, 1:].numpy()


def rows_of(lengths, seed):
    rows = [row_of([tokens], max(lengths)) for tokens in segments_of(lengths, seed)]
    return tuple(jnp.concatenate(parts) for parts in zip(*rows, strict=True))


@pytest.mark.parametrize(("kind", "tied"), [("T5", False), ("T5", True), ("MT5", False)])
def test_logits_and_loss_equal_hugging_face(kind, tied):
    model, parameters, reference = pair_of(kind, tied)
    inputs, segment_ids, positions = rows_of(INPUTS, 0)
    targets, target_segment_ids, target_positions = rows_of(TARGETS, 1)
    labels = np.where(target_segment_ids > 0, targets, -100)
    with torch.no_grad():
        expected = reference(
            input_ids=torch.tensor(np.array(inputs), dtype=torch.long),
            attention_mask=torch.tensor(np.array(segment_ids), dtype=torch.long),
            labels=torch.tensor(labels, dtype=torch.long),
        )
    batch = {"inputs": inputs, "segment_ids": segment_ids, "positions": positions, "targets": targets}
    batch |= {"target_segment_ids": target_segment_ids, "target_positions": target_positions}
    batch["loss_weights"] = (target_segment_ids > 0).astype(jnp.float32)

    module = model.bind(parameters)
    shifted = jnp.pad(targets, ((0, 0), (1, 0)))[:, :-1]
    hidden = module(inputs, segment_ids, positions, shifted, target_segment_ids, target_positions)
    logits = np.asarray(module.logits(hidden))
    assert logits.shape == (len(TARGETS), max(TARGETS), VOCAB)
    for index, length in enumerate(TARGETS):
        np.testing.assert_allclose(logits[index, :length], expected.logits[index, :length].numpy(), atol=1e-4)
    loss, _ = SequenceToSequence()(module, batch, None)
    assert float(loss.total / loss.weight) == pytest.approx(float(expected.loss), abs=1e-4)


@pytest.mark.parametrize(("kind", "tied"), [("T5", False), ("T5", True), ("MT5", False)])
def test_greedy_outputs_equal_hugging_face(kind, tied):
    model, parameters, reference = pair_of(kind, tied)
    inputs, segment_ids, _ = rows_of(INPUTS, 0)
    allowed = jnp.arange(VOCAB) > 0
    found = write(model.bind(parameters), inputs, segment_ids, 20, 1, allowed, jax.random.key(0), Sampling())
    expected = written_by(reference, inputs, segment_ids, num_beams=1)
    np.testing.assert_array_equal(np.asarray(found)[:, : expected.shape[1]], expected)
    assert not np.asarray(found)[:, expected.shape[1] :].any()


@pytest.mark.parametrize(("kind", "tied"), [("T5", False), ("T5", True), ("MT5", False)])
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_beams_equal_hugging_face(kind, tied, penalty):
    model, parameters, reference = pair_of(kind, tied)
    inputs, segment_ids, _ = rows_of(INPUTS, 0)
    allowed = jnp.arange(VOCAB) > 0
    found = search(model.bind(parameters), inputs, segment_ids, 20, 1, allowed, Beams(3, penalty))
    how = {"num_beams": 3, "length_penalty": penalty, "early_stopping": "never"}
    expected = written_by(reference, inputs, segment_ids, **how)
    np.testing.assert_array_equal(np.asarray(found)[:, : expected.shape[1]], expected)
    assert not np.asarray(found)[:, expected.shape[1] :].any()


@pytest.mark.parametrize("tied", [False, True])
def test_weights_from_hugging_face_are_those_given_to_it(tied):
    model, parameters, reference = pair_of("T5", tied)
    back = from_t5({name: tensor.numpy() for name, tensor in reference.state_dict().items()}, model.config)
    assert jax.tree.structure(back) == jax.tree.structure(jax.tree.map(np.asarray, parameters))
    jax.tree.map(np.testing.assert_array_equal, back, jax.tree.map(np.asarray, parameters))
