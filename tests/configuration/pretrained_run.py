"""A pre-trained run made without pre-training: config, vocabulary and a checkpoint of drawn parameters."""

import dataclasses
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from m5jax.configuration.run_files import ATTRIBUTES, CONFIG, VOCABULARY
from m5jax.data.attributes import SEPARATORS
from m5jax.data.vocabulary import train_vocabulary
from m5jax.models import EncoderConfig, EncoderDecoderConfig, FunctionalModel
from m5jax.training.checkpoints import FOLDER, Checkpoints
from m5jax.training.keep_policy import KeepPolicy
from m5jax.training.optimizers import AdamW
from m5jax.training.schedules import Cosine
from m5jax.training.state import init_state

PIECES = 520
BRANDS = ("acme", "globex", "initech", "umbrella", "hooli", "stark", "wayne", "tyrell")
THINGS = ("drill", "kettle", "lamp", "chair", "router", "camera", "blender", "printer")


def encoder(**changes: Any) -> EncoderConfig:
    settings = {"vocab_size": PIECES, "width": 32, "layers": 2, "heads": 2, "mlp_hidden": 32, "max_length": 64}
    return EncoderConfig(**(settings | changes))


def encoder_decoder() -> EncoderDecoderConfig:
    return EncoderDecoderConfig(vocab_size=PIECES, width=32, encoder_layers=1, decoder_layers=1, heads=2, mlp_hidden=32)


def write_run(run_dir: Path, config: EncoderConfig | EncoderDecoderConfig, seed: int = 1) -> Path:
    """Writes the run directory and returns it."""
    name = type(config).__name__
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    lines = [f"{name}.{field} = {value!r}" for field, value in values.items() if value is not None]
    run_dir.mkdir(parents=True)
    (run_dir / CONFIG).write_text("\n".join([*lines, f"Run.model = @{name}()"]) + "\n", encoding="utf-8")
    texts = [row["left"]["title"] for row in pairs(200, 7)] + ["how is the weather in new york tomorrow 0123456789"]
    train_vocabulary({"en": texts}, {"en": len(texts)}, size=PIECES, output=run_dir / VOCABULARY)
    (run_dir / ATTRIBUTES).write_text(json.dumps(dataclasses.asdict(SEPARATORS)), encoding="utf-8")
    model = FunctionalModel.from_config(config)
    transformation = AdamW(Cosine(1e-3, 0, 1)).make(model.logical_axes, 1.0)
    with Checkpoints(run_dir / FOLDER, KeepPolicy()) as checkpoints:
        checkpoints.save(1, init_state(model, transformation, jax.random.key(seed)), _NoPosition())
    return run_dir


class _NoPosition:
    of_all_processes = True

    def save(self, directory: Path) -> None:
        (directory / "position.json").write_text("{}", encoding="utf-8")

    def restore(self, directory: Path) -> None:
        raise AssertionError("nothing is resumed")


def pairs(count: int, seed: int) -> list[dict[str, Any]]:
    """Returns pairs of products of a brand, a thing and a number; half of them are of one product."""
    return list(_pairs(count, random.Random(seed)))


def _pairs(count: int, generator: random.Random) -> Iterator[dict[str, Any]]:
    for number in range(count):
        brand, thing = generator.choice(BRANDS), generator.choice(THINGS)
        model, other = generator.randrange(100, 10_000), generator.randrange(100, 10_000)
        same = number % 2 == 0
        right = f"{thing} {brand} {model if same else other}"
        yield {"left": {"title": f"{brand} {thing} {model}"}, "right": {"title": right}, "label": int(same)}


def write_rows(path: Path, rows: list[dict[str, Any]]) -> str:
    """Writes rows as JSON lines and returns the path."""
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return str(path)
