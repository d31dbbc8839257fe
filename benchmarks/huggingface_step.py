"""The training step that `train_step.py` is compared with: Hugging Face's ModernBERT or T5 on PyTorch, as large."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import transformers

from m5jax.models import EncoderConfig, EncoderDecoderConfig

IGNORED = -100  # the label of a token that is not predicted


def make_step(
    config: EncoderConfig | EncoderDecoderConfig, batch: dict[str, np.ndarray], threads: int, tuned: bool
) -> Callable[[], float]:
    """Returns a function that takes one step and returns its loss.

    Same shape, batch, optimizer and clipping as m5jax's step; bfloat16 products on a GPU (autocast), else float32.

    Args:
      config: the shape.
      batch: as m5jax's; unpacked rows without padding.
      threads: CPU threads.
      tuned: False: as users run it. True: with fused AdamW, and ModernBERT with `sparse_prediction` (logits at
        predicted tokens only).
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, labels = _model(config, batch, tuned)
    model.to(device).train()
    fused = {"fused": True} if tuned else {}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.98), weight_decay=0.01, **fused)
    inputs = torch.tensor(batch["inputs"], dtype=torch.long, device=device)
    labels = torch.tensor(labels, dtype=torch.long, device=device)
    attention_mask = torch.ones_like(inputs)

    def step() -> float:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = model(input_ids=inputs, attention_mask=attention_mask, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step


def _model(
    config: EncoderConfig | EncoderDecoderConfig, batch: dict[str, np.ndarray], tuned: bool
) -> tuple[Any, np.ndarray]:
    """Returns the reference and its labels."""
    if isinstance(config, EncoderDecoderConfig):
        model = transformers.T5ForConditionalGeneration(_t5_config(config))
        if not config.tied_logits:  # tied when it is made, whatever its config says
            model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
        return model, batch["targets"]
    model = transformers.ModernBertForMaskedLM._from_config(_config(config, tuned), attn_implementation="sdpa")
    return model, _labels(batch)


def _t5_config(config: EncoderDecoderConfig) -> transformers.T5Config:
    return transformers.T5Config(
        vocab_size=config.vocab_size,
        d_model=config.width,
        d_kv=config.head_size,
        d_ff=config.mlp_hidden,
        num_layers=config.encoder_layers,
        num_decoder_layers=config.decoder_layers,
        num_heads=config.heads,
        dropout_rate=config.dropout_rate,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=config.tied_logits,
        decoder_start_token_id=0,
        use_cache=False,
    )


def _config(config: EncoderConfig, tuned: bool) -> transformers.ModernBertConfig:
    return transformers.ModernBertConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.width,
        intermediate_size=config.mlp_hidden,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        max_position_embeddings=config.max_length,
        global_attn_every_n_layers=1,
        decoder_bias=False,
        sparse_prediction=tuned,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=1,
        cls_token_id=1,
        sep_token_id=1,
    )


def _labels(batch: dict[str, np.ndarray]) -> np.ndarray:
    labels = np.full(batch["inputs"].shape, IGNORED, np.int64)
    rows, slots = np.nonzero(batch["loss_weights"])
    labels[rows, batch["predicted_positions"][rows, slots]] = batch["targets"][rows, slots]
    return labels
