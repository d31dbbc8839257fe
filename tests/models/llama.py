"""Carries the parameters of a decoder to Llama's names, and Qwen3's (transformers, `modeling_llama.py`)."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from m5jax.models import Parameters

# Llama's gate is what is activated, first here.
KERNELS = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "o_proj"}
KERNELS |= {"up": "gate_proj", "gate": "up_proj", "down": "down_proj"}
NORMS = {"query_norm": "q_norm", "key_norm": "k_norm"}


def to_llama(parameters: Parameters) -> dict[str, np.ndarray]:
    """Returns arrays by name for `load_state_dict`; torch keeps kernels as [output, input]."""
    arrays = jax.tree.map(np.asarray, parameters)
    named = {"model.embed_tokens.weight": arrays["embedding"], "model.norm.weight": arrays["final_norm"]["scale"]}
    named["lm_head.weight"] = arrays.get("output_embedding", arrays["embedding"])
    layers = arrays["layers"]
    for index in range(len(layers["mlp_norm"]["scale"])):
        name = f"model.layers.{index}"
        named[f"{name}.input_layernorm.weight"] = layers["attention_norm"]["scale"][index]
        named[f"{name}.post_attention_layernorm.weight"] = layers["mlp_norm"]["scale"][index]
        for part, theirs in (("attention", "self_attn"), ("mlp", "mlp")):
            for short, array in _of_part(layers[part], index):
                named[f"{name}.{theirs}.{short}.weight"] = array
    return named


def _of_part(part: dict[str, Any], index: int) -> Iterator[tuple[str, np.ndarray]]:
    for ours, leaf in part.items():
        if ours in NORMS:
            yield NORMS[ours], leaf["scale"][index]
        else:
            kernel = leaf[index]
            leading = 2 if ours == "output" else 1
            yield KERNELS[ours], kernel.reshape(np.prod(kernel.shape[:leading]), -1).T
