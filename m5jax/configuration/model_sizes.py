"""What models cost before they are made: parameters by part, FLOPs, bytes of weights, optimizer and cache."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from m5jax.configuration.gin_files import REPOSITORY, find_gin_file, read_bindings
from m5jax.configuration.load import load
from m5jax.errors import UserError
from m5jax.evaluation.tables import format_table
from m5jax.models import DecoderConfig, EncoderConfig, EncoderDecoderConfig, FunctionalModel

ModelConfig = EncoderConfig | EncoderDecoderConfig | DecoderConfig

MODELS = "gin_configs/models"
PARTS = ("embeddings", "attention", "mlp", "rest")
HEADERS = ("model", "parameters", "beside embeddings", *PARTS, "FLOPs/token", "weights", "AdamW", "cache/token")
# Predictions a token: masked LM's share; T5's 114 targets of 512 inputs (arXiv 1910.10683, section 3.1.4); each token.
PREDICTED = {"EncoderConfig": 0.15, "EncoderDecoderConfig": 114 / 512, "DecoderConfig": 1.0}
_FLOAT32, _BFLOAT16 = 4, 2


def sizes_table(names: Sequence[str], length: int) -> str:
    """Returns the table of the models that gin files describe; without names, of all in `gin_configs/models`.

    Raises:
        UserError: there is no such file, or it describes no model.
    """
    paths = [find_gin_file(name) for name in names] or sorted((REPOSITORY / MODELS).glob("*.gin"))
    if not paths:
        raise UserError(f"there is no {MODELS} beside this installation; name the gin files")
    configs = [(path.stem, read_model(path)) for path in paths]
    rows = [(name, config, FunctionalModel.from_config(config)) for name, config in configs]
    rows.sort(key=lambda row: (type(row[1]).__name__, row[2].parameter_count))
    align = ["left", *["right"] * (len(HEADERS) - 1)]
    return format_table(HEADERS, [_row(*row, length) for row in rows], align)


def read_model(path: Path) -> ModelConfig:
    """Returns the model that a gin file describes.

    Raises:
        UserError: it describes none, several, or one that cannot be.
    """
    found = sorted({binding.name for binding in read_bindings(path)} & set(PREDICTED))
    if len(found) != 1:
        raise UserError(f"{path} binds {' and '.join(found) or 'no model'}; allowed: one of {', '.join(PREDICTED)}")
    return load([str(path)], (), found[0])


def count_parts(model: FunctionalModel) -> dict[str, int]:
    """Returns the parameters of each of `PARTS`; norms, biases and heads are the rest."""
    counts = dict.fromkeys(PARTS, 0)
    for path, leaf in jax.tree_util.tree_leaves_with_path(model.abstract_parameters):
        names = [key.key for key in path]
        if names[0] in ("embedding", "output_embedding"):
            part = "embeddings"
        elif {"attention", "cross_attention"} & set(names):
            part = "attention"
        else:
            part = "mlp" if "mlp" in names else "rest"
        counts[part] += math.prod(leaf.shape)
    return counts


def cache_bytes(config: ModelConfig) -> int:
    """Returns the bytes of bfloat16 keys and values that writing keeps a token; those an encoder-decoder keeps of a
    token of inputs are as many."""
    if isinstance(config, EncoderConfig):
        return 0
    layers = config.layers if isinstance(config, DecoderConfig) else config.decoder_layers
    return 2 * layers * config.key_value_heads * config.head_size * _BFLOAT16


def _row(name: str, config: ModelConfig, model: FunctionalModel, length: int) -> list[Any]:
    parts, count = count_parts(model), model.parameter_count
    flops = config.flops_per_token(length, PREDICTED[type(config).__name__])
    cache = cache_bytes(config)
    return [
        name,
        _short(count),
        _short(count - parts["embeddings"]),
        *(_short(parts[part]) for part in PARTS),
        _short(flops),
        f"{_short(_FLOAT32 * count)}B",
        f"{_short(2 * _FLOAT32 * count)}B",
        f"{_short(cache)}B" if cache else "–",
    ]


def _short(count: float) -> str:
    """Returns a number with three digits and a prefix: 1,234,567 is 1.23M."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= 0.9995 * size:
            return f"{count / size:.3g}{unit}"
    return str(count)
