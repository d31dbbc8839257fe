"""Carries the parameters of an encoder-decoder to and from T5's names (transformers, `modeling_t5.py`)."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from m5jax.models import EncoderDecoderConfig, Parameters

ATTENTION = {"query": "q", "key": "k", "value": "v", "output": "o"}
MLP = {"up": "wi_0", "gate": "wi_1", "down": "wo"}


def to_t5(parameters: Parameters) -> dict[str, np.ndarray]:
    """Returns arrays by name for T5's `load_state_dict`; torch keeps kernels as [output, input]."""
    arrays = jax.tree.map(np.asarray, parameters)
    named = dict.fromkeys(("shared.weight", *_shared("embed_tokens.weight")), arrays["embedding"])
    named["lm_head.weight"] = arrays.get("output_embedding", arrays["embedding"])
    for path, name in _of_stacks():
        named[name] = _at(arrays, path)
    for stack in ("encoder", "decoder"):
        for index in range(len(arrays[stack]["layers"]["mlp_norm"]["scale"])):
            for path, name in _of_layer(stack, index):
                kernel = _at(arrays, path)[index]
                leading = 2 if path[-1] == "output" else 1
                named[name] = kernel.reshape(np.prod(kernel.shape[:leading]), -1).T if kernel.ndim > 1 else kernel
    return named


def from_t5(named: Mapping[str, np.ndarray], config: EncoderDecoderConfig) -> Parameters:
    """Returns parameters from the arrays of a T5 1.1 or mT5 state dict."""
    parameters: Parameters = {"embedding": named["shared.weight"]}
    if not config.tied_logits:
        parameters["output_embedding"] = named["lm_head.weight"]
    for path, name in _of_stacks():
        _put(parameters, path, named[name])
    heads = (config.heads, config.head_size)
    for stack, count in (("encoder", config.encoder_layers), ("decoder", config.decoder_layers)):
        for layer in zip(*(_of_layer(stack, index) for index in range(count)), strict=True):
            path = layer[0][0]
            kernels = np.stack([np.asarray(named[name]).T for _, name in layer])
            if path[-1] == "output":
                kernels = kernels.reshape(count, *heads, config.width)
            elif path[-1] in ATTENTION:
                kernels = kernels.reshape(count, config.width, *heads)
            _put(parameters, path, kernels)
    return parameters


def _shared(name: str) -> Iterator[str]:
    return (f"{stack}.{name}" for stack in ("encoder", "decoder"))


def _of_stacks() -> Iterator[tuple[tuple[str, ...], str]]:
    for stack in ("encoder", "decoder"):
        yield (stack, "final_norm", "scale"), f"{stack}.final_layer_norm.weight"
        bias = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        yield (stack, "position_bias", "weights"), bias


def _of_layer(stack: str, index: int) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yields the path of each stacked parameter and the name of its slice in this layer."""
    parts = [("attention", "SelfAttention", ATTENTION), ("mlp", "DenseReluDense", MLP)]
    if stack == "decoder":
        parts.insert(1, ("cross_attention", "EncDecAttention", ATTENTION))
    for place, (part, theirs, kernels) in enumerate(parts):
        name = f"{stack}.block.{index}.layer.{place}"
        yield (stack, "layers", f"{part}_norm", "scale"), f"{name}.layer_norm.weight"
        for kernel, short in kernels.items():
            yield (stack, "layers", part, kernel), f"{name}.{theirs}.{short}.weight"


def _at(tree: Any, path: tuple[str, ...]) -> np.ndarray:
    for name in path:
        tree = tree[name]
    return tree


def _put(tree: Parameters, path: tuple[str, ...], leaf: np.ndarray) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = leaf
