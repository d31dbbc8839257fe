"""The training step that `train_step.py` is compared with: Hugging Face's ModernBERT on PyTorch, of the same shape."""

from collections.abc import Callable

import numpy as np
import torch
import transformers

from m5jax.models import EncoderConfig

IGNORED = -100  # the label of a token that is not predicted


def make_step(config: EncoderConfig, batch: dict[str, np.ndarray], threads: int, tuned: bool) -> Callable[[], float]:
    """Returns a function that takes one step and returns its loss.

    Same shape, batch, optimizer and clipping as m5jax's step; bfloat16 products on a GPU (autocast), else float32.

    Args:
      config: the shape.
      batch: as m5jax's; unpacked rows without padding.
      threads: CPU threads.
      tuned: False: as users run it. True: with `sparse_prediction` (logits at predicted tokens only) and fused AdamW.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = transformers.ModernBertForMaskedLM._from_config(_config(config, tuned), attn_implementation="sdpa")
    model.to(device).train()
    fused = {"fused": True} if tuned else {}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.98), weight_decay=0.01, **fused)
    inputs = torch.tensor(batch["inputs"], dtype=torch.long, device=device)
    labels = torch.tensor(_labels(batch), device=device)
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
