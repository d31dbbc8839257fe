"""Writes the parameters of an encoder under ModernBERT's names (transformers, `modeling_modernbert.py`)."""

import jax
import numpy as np

from m5jax.models import Parameters


def to_modernbert(parameters: Parameters) -> dict[str, np.ndarray]:
    """Returns arrays by name for `ModernBertForMaskedLM.load_state_dict`; torch keeps kernels as [output, input]."""
    arrays = jax.tree.map(np.asarray, parameters)
    layers, head = arrays["layers"], arrays["masked_lm_head"]
    named = {
        "model.embeddings.tok_embeddings.weight": arrays["embedding"],
        "model.embeddings.norm.weight": arrays["embedding_norm"]["scale"],
        "model.final_norm.weight": arrays["final_norm"]["scale"],
        "head.dense.weight": head["dense"].T,
        "head.norm.weight": head["norm"]["scale"],
        "decoder.weight": arrays["embedding"],
    }
    if "bias" in head:
        named["decoder.bias"] = head["bias"]
    attention, mlp = layers["attention"], layers["mlp"]
    width = arrays["embedding"].shape[1]
    for index in range(len(layers["mlp_norm"]["scale"])):
        name = f"model.layers.{index}"
        projections = [attention[part][index].reshape(width, width).T for part in ("query", "key", "value")]
        named[f"{name}.attn.Wqkv.weight"] = np.concatenate(projections)
        named[f"{name}.attn.Wo.weight"] = attention["output"][index].reshape(width, width).T
        named[f"{name}.mlp_norm.weight"] = layers["mlp_norm"]["scale"][index]
        named[f"{name}.mlp.Wi.weight"] = np.concatenate([mlp["up"][index].T, mlp["gate"][index].T])
        named[f"{name}.mlp.Wo.weight"] = mlp["down"][index].T
        if index:
            named[f"{name}.attn_norm.weight"] = layers["attention_norm"]["scale"][index]
    return named
